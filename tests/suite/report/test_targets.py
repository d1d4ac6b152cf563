"""Targets as numbers, and times to them, worked out by hand."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from suite.analysis.survival import Observation
from suite.report.targets import horizons, observations
from tests.suite.report.made_up import DIVERGED, board_of, three_seeds

if TYPE_CHECKING:
    from pathlib import Path

    from suite.report.model import Board

pytestmark = pytest.mark.usefixtures("sketched")

LOSSES = {
    "adam": [[40, 30, 20], [42, 31, 22], [40, 32, 24]],
    "kfac": [[40, 20, 18], [42, 22, 19], DIVERGED],
}


def board(folder: Path, targets: str) -> Board:
    return board_of(folder, three_seeds(targets=f"digits: [{targets}]"), LOSSES)


@pytest.mark.parametrize(
    ("target", "definition", "value", "name"),
    [
        ("17", "17", 17.0, "17"),
        ("{best_of: adam}", "the best of adam", 22.0, "22.00"),
        ("{best_of: kfac}", "the best of kfac", 18.5, "18.50"),  # of the seeds that did not diverge
        (
            "{fraction: 0.5, between: [start, {best_of: adam}]}",
            "50 % of the way from the start (40.67) to the best of adam (22.00)",
            (122 / 3 + 22) / 2,
            "31.33",
        ),
        ("{fraction: 0.9, between: [30, floor]}", "90 % of the way from 30 to the floor (10.00)", 12.0, "12.00"),
    ],
)
def test_a_target_is_a_number_of_what_is_measured(
    tmp_path: Path, target: str, definition: str, value: float, name: str
) -> None:
    (found,) = board(tmp_path, target).targets
    assert (found.definition, found.name, found.why) == (definition, name, "")
    assert found.value == pytest.approx(value)


def test_what_is_not_measured_makes_no_number(tmp_path: Path) -> None:
    found = board(tmp_path, "{best_of: kpsvd}, {fraction: 0.5, between: [start, {best_of: sgd}]}, 25")
    one, two, three = found.targets
    assert (one.why, two.why) == ("no run of kpsvd has ended", "no run of sgd has ended")
    assert math.isnan(one.value)
    assert math.isnan(two.value)
    assert three.value == 25
    assert [(time.of, time.hits) for time in found.standings[0].targets] == [(0, 0), (0, 0), (3, 3)]


def test_times_by_clock_and_the_mean_that_is_restricted(tmp_path: Path) -> None:
    """Adam reaches 22 on two of three seeds, at 40; KFAC at 20 on both seeds that did not diverge."""
    found = board(tmp_path, "22")
    by_name = {s.optimizer: s.targets[0] for s in found.standings}
    adam, kfac = by_name["adam"], by_name["kfac"]
    assert horizons(found.standings, 22) == pytest.approx({"iteration": 40, "seconds": 0.4, "cpu_seconds": 0.8})
    assert (adam.iterations, adam.hits, adam.mean_iterations) == (40, 2, 40)
    assert (kfac.iterations, kfac.hits, kfac.of) == (20, 2, 3)
    assert kfac.mean_iterations == pytest.approx((20 + 20 + 40) / 3), "the run that diverged counts to the end"
    assert kfac.mean_cpu_seconds == pytest.approx(1.6 / 3)
    assert observations(found.standings[1].results, 22, "iteration")[2] == Observation(math.inf, reached=False)


def test_an_optimizer_without_runs_restricts_nothing(tmp_path: Path) -> None:
    found = board(tmp_path, "22")
    sgd = next(s for s in found.standings if s.optimizer == "sgd")
    assert sgd.targets[0].iterations is None
    assert math.isnan(sgd.targets[0].mean_iterations)
