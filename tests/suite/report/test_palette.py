"""A method looks the same in every figure."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from kfsvd.approximations import APPROXIMATIONS
from suite.methods import METHODS
from suite.records import PHASES
from suite.report.figures.palette import DARK_PAGE, PHASE_COLOURS, colour, contrast, dashes, in_the_dark, lines

if TYPE_CHECKING:
    import pytest


def standing(optimizer: str, method: str) -> SimpleNamespace:
    return SimpleNamespace(optimizer=optimizer, method=method)


def test_registered_methods_have_colours_of_their_own() -> None:
    assert len({colour(method) for method in METHODS}) == len(METHODS)


def test_phases_have_colours_that_no_method_has() -> None:
    assert set(PHASE_COLOURS) == set(PHASES)
    assert not {colour(method) for method in METHODS} & set(PHASE_COLOURS.values())


def test_in_the_dark_methods_are_seen_and_told_apart() -> None:
    shades = {method: in_the_dark(colour(method)) for method in METHODS}
    assert len(set(shades.values())) == len(METHODS)
    assert all(contrast(shade, DARK_PAGE) >= 4.5 for shade in shades.values())
    assert contrast(shades["adam"], DARK_PAGE) > 15, "black turns white"
    assert in_the_dark("#d2d2d2") == "#d2d2d2", "what is light enough stays"


def test_contrast_is_that_of_wcag() -> None:
    assert contrast("#000000", "#ffffff") == contrast("#ffffff", "#000000") == 21
    assert round(contrast("#777777", "#ffffff"), 2) == 4.48


def test_strokes_are_lengths() -> None:
    assert dashes("-") == []
    assert dashes("--") == [3.7, 1.6]
    assert dashes((0, (6, 1.5))) == [6, 1.5]


def test_a_new_method_needs_no_line_here(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {method: colour(method) for method in METHODS}
    for name in ("newcomer", "another"):
        monkeypatch.setitem(APPROXIMATIONS, name, APPROXIMATIONS["kfac"])
    assert {method: colour(method) for method in before} == before
    assert len({*before.values(), colour("newcomer"), colour("another")}) == len(before) + 2


def test_methods_from_outside_differ_from_one_another() -> None:
    names = [f"mine:Optimizer{n}" for n in range(20)]
    assert len({colour(name) for name in names}) > 8
    assert [colour(name) for name in names] == [colour(name) for name in names[::-1]][::-1]


def test_settings_of_a_method_share_its_colour_and_differ_in_stroke() -> None:
    board = [standing("kfac[lr=0.3]", "kfac"), standing("kfac[lr=0.1]", "kfac"), standing("adam", "adam")]
    found = lines(board)  # type: ignore[arg-type]
    assert found["kfac[lr=0.3]"].color == found["kfac[lr=0.1]"].color != found["adam"].color
    assert found["kfac[lr=0.3]"].linestyle != found["kfac[lr=0.1]"].linestyle
    assert lines(board[::-1]) == found, "whatever their ranking"  # type: ignore[arg-type]
