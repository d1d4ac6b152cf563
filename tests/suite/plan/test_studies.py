"""Trials follow from the spec and the results alone; the winner is the best by the rule."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from suite.plan.search import MOST_EXTENSIONS, ROUND
from suite.plan.trials import Outcome
from suite.plan.trials import trial as trial_of
from suite.report.sections.tuning import tuning_flags
from tests.suite.helpers import says
from tests.suite.tuned import TUNED, spec_of, tuned

if TYPE_CHECKING:
    from pathlib import Path

    from suite.cell import Cell
    from suite.plan.studies import Study, Tuned


def option(cell: Cell, name: str) -> Any:
    return getattr(cell.method, name)


def study(found: Tuned, optimizer: str) -> Study:
    return next(s for s in found.studies if s.optimizer == optimizer)


def bowl(cell: Cell) -> float:
    """Best at lr = .01 for Adam, at lr = 3, damping = .01 for KFAC."""
    if cell.method.method == "adam":
        return 10 + abs(math.log(option(cell, "lr") / 0.01))
    return 10 + abs(math.log(option(cell, "lr") / 3)) + abs(math.log(option(cell, "damping") / 0.01))


def test_before_anything_is_measured_every_final_cell_waits(tmp_path: Path) -> None:
    found = tuned(spec_of(tmp_path), lambda cell: None)
    assert found.finals == []
    assert [(cell.optimizer, cell.seed) for cell in found.waiting] == [
        ("adam", 0),
        ("kfac", 0),
        ("adam", 1),
        ("kfac", 1),
    ]
    assert len(found.trials) == 2 * 4 * 2
    assert not any(s.complete or s.winner for s in found.studies)


def test_a_trial_is_a_cell_like_the_final_one_but_for_seed_budget_and_fisher_errors(tmp_path: Path) -> None:
    spec = spec_of(tmp_path)
    trial = tuned(spec, lambda cell: None).trials[0]
    assert (trial.optimizer, trial.dataset, trial.seed) == ("adam[lr=0.001]", "digits", 7)
    assert trial.budget.iterations == 20
    assert (trial.measure.fisher_every, trial.measure.loss_every) == (None, 20)
    assert option(trial, "lr") == 0.001


def test_trials_on_a_data_set_may_have_a_budget_of_their_own(tmp_path: Path) -> None:
    text = TUNED.replace(
        "  budget: {iterations: 20}\n", "  budget: {iterations: 20}\n  budgets: {digits: {epochs: 2}}\n"
    )
    found = tuned(spec_of(tmp_path, text), bowl)
    trials = [cell for s in found.studies for trial in s.trials for cell in trial.cells]
    assert {cell.budget.epochs for cell in trials} == {2}
    assert {cell.budget.iterations for cell in found.finals} == {60}


def test_the_winner_has_the_least_mean_over_seeds_and_goes_into_the_final_cells(tmp_path: Path) -> None:
    found = tuned(spec_of(tmp_path), lambda cell: bowl(cell) + (cell.seed == 8) * 100 * (option(cell, "lr") == 0.01))
    winner = study(found, "adam").winner
    assert winner is not None
    assert winner.setting == {"lr": 0.03}, "0.01 is best on seed 7 alone"
    assert winner.score == pytest.approx(10 + math.log(3))
    assert {option(cell, "lr") for cell in found.finals if cell.optimizer == "adam"} == {0.03}
    assert {(cell.seed, cell.budget.iterations) for cell in found.finals} == {(0, 60), (1, 60)}
    assert found.waiting == []


def test_a_trial_is_scored_by_its_last_loss_and_not_its_lowest(tmp_path: Path) -> None:
    spec = spec_of(tmp_path)
    cell = tuned(spec, lambda cell: None).trials[0]
    course = Outcome(np.arange(3.0), np.arange(3.0), np.array([40.0, 10.0, 20.0]), diverged=False)
    assert spec.tuning is not None
    found = trial_of(spec.tuning.outline, {"lr": 0.001}, (cell,), {cell.key: course}, beyond=False)
    assert (found.score, found.loss) == (20, 20)


def test_a_study_waits_for_every_seed_of_every_trial(tmp_path: Path) -> None:
    found = tuned(
        spec_of(tmp_path), lambda cell: None if (cell.optimizer, cell.seed) == ("adam[lr=0.03]", 8) else bowl(cell)
    )
    adam = study(found, "adam")
    assert (adam.complete, adam.winner) == (False, None)
    assert adam.best is not None
    assert study(found, "kfac").winner is not None
    assert {cell.optimizer for cell in found.waiting} == {"adam"}
    assert {cell.optimizer for cell in found.finals} == {"kfac"}


def test_a_setting_that_diverges_on_any_seed_never_wins(tmp_path: Path) -> None:
    found = tuned(spec_of(tmp_path), lambda c: math.inf if option(c, "lr") == 0.01 and c.seed == 7 else bowl(c))
    adam = study(found, "adam")
    assert adam.winner is not None
    assert adam.winner.setting != {"lr": 0.01}
    assert [trial.diverged for trial in adam.trials] == [0, 0, 1, 0]
    everything = study(tuned(spec_of(tmp_path), lambda cell: math.inf), "adam")
    assert everything.complete
    assert everything.winner is None


def test_the_soonest_wins_by_the_rule_and_a_miss_is_later_than_the_end(tmp_path: Path) -> None:
    text = TUNED.replace("  spaces:", "  rule: iterations_to_target\n  targets: {digits: 25}\n  spaces:")
    spec = spec_of(tmp_path, text)
    # from 40 in a straight line: the further down it ends, the sooner it passes 25
    found = study(tuned(spec, bowl), "adam")
    assert found.winner is not None
    assert found.winner.setting == {"lr": 0.01}
    assert found.winner.score == pytest.approx(50.0), "30 at a hundred iterations: 25 is passed at half of them"
    missed = study(tuned(spec, lambda cell: 20 + bowl(cell)), "adam")
    assert [t.score for t in missed.trials] == pytest.approx([100 * t.loss / 25 for t in missed.trials if t.loss])
    assert min(t.score for t in missed.trials if t.score) > 100


def test_an_edge_is_said(tmp_path: Path) -> None:
    found = tuned(spec_of(tmp_path), bowl)
    assert study(found, "adam").edges == {}
    assert study(found, "kfac").edges == {"lr": "largest", "damping": "least"}
    assert study(found, "kfac").unbracketed == {"lr": "largest", "damping": "least"}


def test_a_grid_is_extended_until_the_best_is_bracketed(tmp_path: Path) -> None:
    found = study(tuned(spec_of(tmp_path, TUNED.replace("  spaces:", "  extend: true\n  spaces:")), bowl), "kfac")
    assert found.complete
    assert found.winner is not None
    assert found.winner.setting == {"lr": 3.0, "damping": 0.01}
    assert found.edges == {}
    beyond = [trial.setting for trial in found.trials if trial.beyond]
    assert {"lr": 10.0, "damping": 0.01} in beyond
    assert {"lr": 3.0, "damping": 0.001} in beyond
    assert 0 < len(beyond) <= MOST_EXTENSIONS
    assert (found.expected, len(found.trials)) == (4, 4 + len(beyond))


def test_extension_ends_where_it_must(tmp_path: Path) -> None:
    text = TUNED.replace("  spaces:", "  extend: true\n  spaces:")
    falling = study(tuned(spec_of(tmp_path, text), lambda cell: 10 / (1 + option(cell, "lr"))), "adam")
    assert sum(trial.beyond for trial in falling.trials) == MOST_EXTENSIONS
    assert falling.unbracketed == {"lr": "largest"}
    bounded = text.replace("lr: [0.001, 0.003, 0.01, 0.03]", "beta1: [0.5, 0.7, 0.8, 0.9]")
    at_one = study(tuned(spec_of(tmp_path, bounded), lambda cell: 10 - getattr(cell.method, "beta1", 0)), "adam")
    assert at_one.complete
    assert at_one.edges == {"beta1": "largest"}
    assert at_one.unbracketed == {}, "beyond is 1, which no Adam takes"


def ranges(search: str, trials: int) -> str:
    return TUNED.replace("search: grid", f"search: {search}\n  trials: {trials}").replace(
        "lr: [0.001, 0.003, 0.01, 0.03]",
        "lr: {low: 1e-4, high: 0.1}, batch_size: {low: 32, high: 128}, eps: [1e-8, 1e-4]",
    )


def test_random_trials_are_the_same_every_time_and_within_their_ranges(tmp_path: Path) -> None:
    found = study(tuned(spec_of(tmp_path, ranges("random", 12)), bowl), "adam")
    again = study(tuned(spec_of(tmp_path, ranges("random", 12)), bowl), "adam")
    assert [t.setting for t in found.trials] == [t.setting for t in again.trials]
    assert len({t.name for t in found.trials}) == 12
    for trial in found.trials:
        assert 1e-4 <= trial.setting["lr"] <= 0.1  # type: ignore[operator]
        assert isinstance(trial.setting["batch_size"], int)
        assert 32 <= trial.setting["batch_size"] <= 128
        assert trial.setting["eps"] in (1e-8, 1e-4)
    assert len({t.setting["batch_size"] for t in found.trials}) > 4
    assert found.winner is not None
    assert found.edges["eps"] == ("least" if found.winner.setting["eps"] == 1e-8 else "largest")
    falling = study(tuned(spec_of(tmp_path, ranges("random", 40)), lambda cell: 10 + option(cell, "lr")), "adam")
    assert falling.edges["lr"] == "least", "within a twentieth of the range from its low"


def test_tpe_goes_on_from_what_is_measured_and_beats_its_own_start(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    spec = spec_of(tmp_path, ranges("tpe", 24))
    first = study(tuned(spec, lambda cell: None), "adam")
    assert len(first.trials) == ROUND, "what comes after the first round depends on it"
    found = study(tuned(spec, bowl), "adam")
    assert [t.setting for t in found.trials[:ROUND]] == [t.setting for t in first.trials]
    assert [t.setting for t in found.trials] == [t.setting for t in study(tuned(spec, bowl), "adam").trials]
    assert (found.complete, len(found.trials)) == (True, 24)
    scores = [t.score for t in found.trials if t.score is not None]
    assert min(scores[12:]) <= min(scores[:6])
    known = {cell.key for trial in found.trials[: 2 * ROUND] for cell in trial.cells}
    halfway = study(tuned(spec, lambda cell: bowl(cell) if cell.key in known else None), "adam")
    assert [t.setting for t in halfway.trials] == [t.setting for t in found.trials[: 3 * ROUND]]


def test_two_optimizers_may_come_to_the_same_setting(tmp_path: Path) -> None:
    text = TUNED.replace("kfac: {method: kfac}", "kfac: {method: adam}").replace(
        "kfac: {lr: [0.1, 0.3], damping: [0.1, 1.0]}", "kfac: {lr: [0.003, 0.01, 0.03, 0.1]}"
    )
    found = tuned(spec_of(tmp_path, text), bowl)
    assert {cell.optimizer for cell in found.finals} == {"adam", "kfac"}
    assert len({cell.key for cell in found.finals}) == 2


def test_the_flags_say_what_is_not_tuned_and_what_is_not_bracketed(tmp_path: Path) -> None:
    spec = spec_of(tmp_path)
    largest, least = tuning_flags(spec, tuned(spec, bowl).studies, "digits")
    assert says(largest, "lr of kfac", "largest")
    assert says(least, "damping of kfac", "least")
    fixed = TUNED.replace("damping: [0.1, 1.0]", "kl_clip: [0.1, 1.0]").replace(
        "{method: kfac}", "{method: kfac, damping: 1e-5}"
    )
    spec = spec_of(tmp_path, fixed)
    (first, *_) = tuning_flags(spec, tuned(spec, lambda cell: math.inf).studies, "digits")
    assert says(first, "damping of kfac", "not tuned", "1e-5")
    diverged = tuning_flags(spec, tuned(spec, lambda _: math.inf).studies, "digits")
    unmeasured = tuning_flags(spec, tuned(spec, lambda _: None).studies, "digits")
    assert any(says(flag, "adam diverged") for flag in diverged)
    assert any(says(flag, "kfac", "not complete") for flag in unmeasured)
