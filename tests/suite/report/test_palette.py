"""A method looks the same in every figure."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from suite.methods import METHODS
from suite.methods.first_order import SGD
from suite.records import PHASES
from suite.report.palette import PHASE_COLOURS, colour, lines

if TYPE_CHECKING:
    import pytest


def standing(optimizer: str, method: str) -> SimpleNamespace:
    return SimpleNamespace(optimizer=optimizer, method=method)


def test_registered_methods_have_colours_of_their_own() -> None:
    assert len({colour(method) for method in METHODS}) == len(METHODS)


def test_phases_have_colours_that_no_method_has() -> None:
    assert set(PHASE_COLOURS) == set(PHASES)
    assert not {colour(method) for method in METHODS} & set(PHASE_COLOURS.values())


def test_a_new_method_needs_no_line_here(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {method: colour(method) for method in METHODS}
    monkeypatch.setitem(METHODS, "newcomer", SGD)
    monkeypatch.setitem(METHODS, "another", SGD)
    assert {method: colour(method) for method in before} == before
    assert len({*before.values(), colour("newcomer"), colour("another")}) == len(before) + 2


def test_settings_of_a_method_share_its_colour_and_differ_in_stroke() -> None:
    board = [standing("kfac[lr=0.3]", "kfac"), standing("kfac[lr=0.1]", "kfac"), standing("adam", "adam")]
    found = lines(board)  # type: ignore[arg-type]
    assert found["kfac[lr=0.3]"].color == found["kfac[lr=0.1]"].color != found["adam"].color
    assert found["kfac[lr=0.3]"].linestyle != found["kfac[lr=0.1]"].linestyle
    assert lines(board[::-1]) == found, "whatever their ranking"  # type: ignore[arg-type]
