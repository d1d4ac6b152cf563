"""The card of a method: its formula and source, its options with their ranges, and how it did in the stored runs."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from suite.methods import METHODS
from suite.methods.card import description, options, summary
from suite.records import Records
from suite.report.sections.record import records
from suite.store import open_store
from tests.suite.helpers import SMALL, bench
from tests.suite.stores import evaluations, finished, iterations, matrix_of

if TYPE_CHECKING:
    from pathlib import Path

GRID = SMALL.replace(
    "method: kfac, lr: 0.1, damping: 1.0", "method: kfac, lr: [0.1, 0.3], refresh_every: '10, 50 from 20'"
)


@pytest.mark.parametrize("name", METHODS)
def test_a_card_has_a_formula_and_says_where_it_is_from(name: str) -> None:
    text = description(name)
    assert re.search(r"[←=]", text), "a formula"
    assert re.search(r"\(.*(?:19|20)\d\d.*\)|Woodbury", text, re.DOTALL), "a source"
    assert not re.search(r"Args|Raises|Arguments|those of", text)
    assert "\n" not in summary(name)


@pytest.mark.parametrize("name", METHODS)
def test_a_range_is_what_the_option_takes(name: str) -> None:
    """Numbers at and beyond the bounds that a card shows, and choices that it does not, are taken or refused."""
    required = {each.option: 0.5 for each in options(name) if each.default == "required"}
    bounded = 0
    for each in options(name):

        def taken(value: object, option: str = each.option) -> bool:
            try:
                METHODS[name](method=name, **(required | {option: value}))
            except ValidationError:
                return False
            return True

        for sign, number in re.findall(r"([≥>≤<]) (-?[\d.]+)", each.range):
            bounded += 1
            value = int(number) if "whole" in each.range else float(number)
            assert taken(value) == (sign in "≥≤"), (each, value)
            assert not taken(value - 1 if sign in "≥>" else value + 1)
        if "_" in each.range:
            assert all(taken(choice) for choice in each.range.split(", "))
            assert not taken("nonsense")
        assert ("text" in each.range) == taken("10, 50 from 20"), each
    assert bounded >= 4


def test_the_ranges_of_some_options() -> None:
    shown = {each.option: (each.default, each.range) for each in options("kpsvd")}
    assert shown["momentum"] == (0.9, "≥ 0, < 1")
    assert shown["lr"] == (None, "≥ 0")
    assert shown["refresh_every"] == (10, "whole, ≥ 1 or text")
    assert shown["guard"] == ("floor", "floor, absolute, raise")
    assert {each.option: each.default for each in options("sgd")}["lr"] == "required"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    matrix = matrix_of(tmp_path, GRID)
    with open_store(f"sqlite:///{tmp_path}/kfsvd-bench.sqlite") as store:
        for cell in matrix.cells:
            if cell.optimizer.startswith("kfac"):
                last = 20.0 - 10 * (cell.method.model_dump()["lr"] or 0) + cell.seed
                finished(store, cell, Records(iterations(60), evaluations([40.0, 99.0]), []))
                finished(store, cell, Records(iterations(60), evaluations([40.0, last]), []))
            elif cell.optimizer == "adam":
                finished(store, cell, Records(iterations(6), evaluations([40.0]), []), "diverged")
            elif cell.optimizer == "sgd":
                status = "diverged" if cell.seed else "done"
                finished(store, cell, Records(iterations(6), evaluations([40.0, 3.0 - cell.seed]), []), status)
    return tmp_path


def test_how_a_method_did_in_stored_runs(folder: Path) -> None:
    with open_store(f"sqlite:///{folder}/kfsvd-bench.sqlite") as store:
        (kfac,), (adam,), (sgd,) = (records(store, name) for name in ("kfac", "adam", "sgd"))
        assert records(store, "kpsvd") == []
    assert (kfac.experiment, kfac.dataset, kfac.problem) == ("small", "digits", "digits")
    assert (kfac.runs, kfac.diverged, kfac.best, kfac.median) == (4, 0.0, 17.0, 18.5)
    assert kfac.setting == {"lr": 0.3, "refresh_every": "10, 50 from 20"}, "what is not the default"
    assert kfac.label == "kfac[lr=0.3]"
    assert (adam.runs, adam.diverged, adam.best, adam.median, adam.setting) == (2, 1.0, None, None, {})
    assert (sgd.runs, sgd.diverged, sgd.best) == (2, 0.5, 3.0)


def test_the_command_prints_it(folder: Path) -> None:
    text = bench(folder, "optimizers", "kfac").stdout
    assert text.startswith("kfac: F̂ = A⊗G, A = E[Σ_t a_t a_tᵀ]")
    assert "Martens & Grosse 2015" in text
    assert re.search(r"^momentum +0\.9 +≥ 0, < 1 +heavy-ball factor", text, re.MULTILINE)
    row = r"^small +digits +4 +0% +17\.00 +18\.50 +lr=0\.3, refresh_every=10, 50 from 20$"
    assert re.search(row, text, re.MULTILINE), text
    assert re.search(r"^small +digits +2 +100% +— +— +—$", bench(folder, "optimizers", "adam").stdout, re.MULTILINE)
    assert "No run of kpsvd is stored in sqlite:///kfsvd-bench.sqlite." in bench(folder, "optimizers", "kpsvd").stdout
    card = json.loads(bench(folder, "optimizers", "kfac", "--json").stdout)
    assert list(card) == ["method", "description", "options", "runs"]
    assert card["runs"][0]["best"] == 17.0
    momentum = next(option for option in card["options"] if option["option"] == "momentum")
    assert (momentum["default"], momentum["range"]) == (0.9, "≥ 0, < 1")
    assert momentum["meaning"].startswith("heavy-ball factor")


def test_without_a_store_the_card_is_shown_and_a_wrong_one_is_an_error(tmp_path: Path) -> None:
    done = bench(tmp_path, "optimizers", "adam")
    assert done.returncode == 0
    assert "β₁" in done.stdout
    assert "In the runs" not in done.stdout
    assert list(tmp_path.iterdir()) == [], "none is made"
    assert json.loads(bench(tmp_path, "optimizers", "adam", "--json").stdout)["runs"] is None
    done = bench(tmp_path, "optimizers", "adam", "--db", "sqlite:///absent.sqlite")
    assert (done.returncode, "there is no store at absent.sqlite" in done.stderr) == (2, True)
