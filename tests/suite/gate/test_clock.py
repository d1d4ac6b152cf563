"""The clock's verdict on made-up times: golden cases, and simulations of its false alarms and its power."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from suite.analysis.intervals import Interval
from suite.gate.baseline import Ratio
from suite.gate.clock import Reading, Series, joined, measure, noise_floor, verdict
from suite.gate.comparing import SideBySide, Stored, floors, ratios
from suite.gate.sides import CellError, Sources
from suite.gate.verdicts import Verdict
from tests.suite.specs import SMALL, loaded

if TYPE_CHECKING:
    from pathlib import Path

    from suite.gate.clock import Measured

PLACE = "digits", "kfac"
ROUNDS, ITERATIONS = 6, 30


def made(generator: np.random.Generator, scale: float, noise: float) -> Series:
    """Iterations of a millisecond, every tenth four times as long, and waits on top: long tails, shared by a round."""
    work = np.where(np.arange(ITERATIONS) % 10, 1e-3, 4e-3) * scale
    rounds = 1 + noise * generator.exponential(size=(ROUNDS, 1))
    waits = 1 + noise * generator.exponential(size=(ROUNDS, ITERATIONS))
    preempted = np.where(generator.random((ROUNDS, ITERATIONS)) < noise, 4e-3, 0.0)
    return Series(work * rounds * waits + preempted, np.full(ROUNDS, 2e-3))


def gate_once(generator: np.random.Generator, slower: float, noise: float) -> Verdict:
    """Whether either of two cells alarms, in a gate of two independent measurements; a bias of 2 % by process."""

    def measured() -> dict[str, Measured]:
        bias = {side: np.exp(0.01 * generator.standard_normal()) for side in ("before", "now", "twin")}
        bias["now"] *= 1 + slower
        places = [("digits", f"kfac{number}") for number in range(2)]
        return {side: {place: made(generator, scale, noise) for place in places} for side, scale in bias.items()}

    comparison = SideBySide(Sources(), Sources(), {}, {})
    first, again = ([t.reading for t in comparison.timings(measured(), generator)] for _ in range(2))
    said = {verdict(a, b, 0.05) for a, b in zip(first, again, strict=True)}
    return Verdict.WORSE if Verdict.WORSE in said else Verdict.SAME


def test_95_percent_of_the_noise_stay_below_its_floor_in_either_direction() -> None:
    signed = np.arange(101) * np.where(np.arange(101) % 2, 1e-3, -1e-3)
    assert noise_floor(lambda drawn: signed[drawn[:, 0]], np.arange(101)[:, None]) == pytest.approx(np.expm1(0.095))


def test_of_100_gates_on_the_same_sources_at_most_2_alarm() -> None:
    generator = np.random.default_rng(1)
    alarms = sum(gate_once(generator, 0.0, noise) == Verdict.WORSE for _ in range(50) for noise in (0.02, 0.2))
    assert alarms <= 2


def test_a_step_slower_by_a_tenth_is_caught_20_times_of_20() -> None:
    generator = np.random.default_rng(2)
    assert all(gate_once(generator, 0.1, 0.02) == Verdict.WORSE for _ in range(20))


def test_less_than_the_effect_is_not_worth_an_alarm() -> None:
    generator = np.random.default_rng(3)
    assert sum(gate_once(generator, 0.02, 0.05) == Verdict.WORSE for _ in range(20)) <= 1


SLOWER = Reading(0.10, Interval(0.08, 0.12), floor=0.01)


@pytest.mark.parametrize(
    ("first", "again", "expected"),
    [
        (SLOWER, SLOWER, Verdict.WORSE),
        (SLOWER, None, Verdict.SAME),  # it has not recurred yet
        (SLOWER, SLOWER._replace(change=0.04), Verdict.SAME),  # less than the effect
        (SLOWER, SLOWER._replace(interval=Interval(-0.01, 0.2)), Verdict.SAME),  # zero is inside
        (SLOWER, SLOWER._replace(floor=0.11), Verdict.SAME),  # less than the noise
        (SLOWER, Reading(-0.1, Interval(-0.12, -0.08), 0.01), Verdict.SAME),  # the other way
        (Reading(-0.1, Interval(-0.12, -0.08), 0.01), Reading(-0.1, Interval(-0.12, -0.08), 0.01), Verdict.BETTER),
    ],
)
def test_an_alarm_needs_effect_interval_and_recurrence(
    first: Reading, again: Reading | None, expected: Verdict
) -> None:
    assert verdict(first, again, 0.05) == expected


def test_the_quickest_round_of_each_iteration_counts() -> None:
    seconds = np.array([[1.0, 5.0, 1.0], [9.0, 2.0, 3.0]])
    both = np.array([[0, 1]])
    assert np.exp(Series(seconds, np.ones(2)).per_iteration(both)) == pytest.approx((1 + 2 + 1) / 3)


def exact(scale: float) -> Series:
    return Series(np.full((ROUNDS, ITERATIONS), 1e-3 * scale), np.full(ROUNDS, 4e-3))


def test_seconds_to_a_target_are_those_of_an_iteration_times_iterations() -> None:
    measured = {side: {PLACE: exact(scale)} for side, scale in (("before", 1.0), ("now", 1.2), ("twin", 1.0))}
    hits_before, hits_now = {PLACE: {20.0: 40.0, 1.0: np.inf}}, {PLACE: {20.0: 50.0, 1.0: 60.0}}
    comparison = SideBySide(Sources(), Sources(), hits_before, hits_now)
    step, target = comparison.timings(measured, np.random.default_rng(0))
    assert (step.measure, target.measure) == ("seconds per iteration", "seconds to 20")
    assert step.reading.change == pytest.approx(0.2)
    assert target.reading.change == pytest.approx(1.2 * 1.25 - 1)
    assert target.now / target.before == pytest.approx(1.5)
    assert target.reading.interval == pytest.approx((0.5, 0.5))


def test_stored_ratios_are_of_adam_and_adams_of_the_reference_workload() -> None:
    places = {("digits", "adam"): exact(2.0), PLACE: exact(3.0), ("curves", "kfac"): exact(5.0)}
    measured = {"now": places, "twin": places}
    stored = ratios(measured, np.random.default_rng(0))
    assert {place: (ratio.unit, round(ratio.value, 9)) for place, ratio in stored.items()} == {
        ("digits", "adam"): ("reference", 0.5),
        PLACE: ("adam", 1.5),
        ("curves", "kfac"): ("reference", 1.25),  # there is no Adam on that data set
    }
    before = {PLACE: Ratio("adam", 1.2, 0.0), ("curves", "kfac"): Ratio("adam", 5.0, 0.0)}
    timings = list(Stored(Sources(), before).timings(measured, np.random.default_rng(0)))
    assert [timing.place for timing in timings] == [PLACE], "a ratio of another unit is not compared"
    assert timings[0].reading.change == pytest.approx(0.25)


def test_what_two_processes_differ_by_counts_as_the_spread_of_a_stored_ratio() -> None:
    measured = {side: {("digits", "adam"): exact(1.0), PLACE: exact(s)} for side, s in (("now", 1.0), ("twin", 1.44))}
    stored = ratios(measured, np.random.default_rng(0))[PLACE]
    assert (stored.value, stored.deviation) == pytest.approx((1.2, np.log(1.2)))


def test_the_spread_of_a_stored_ratio_widens_the_interval() -> None:
    measured = {side: {("digits", "adam"): exact(1.0), PLACE: exact(1.1)} for side in ("now", "twin")}
    (known,) = Stored(Sources(), {PLACE: Ratio("adam", 1.0, 0.0)}).timings(measured, np.random.default_rng(0))
    (vague,) = Stored(Sources(), {PLACE: Ratio("adam", 1.0, 0.2)}).timings(measured, np.random.default_rng(0))
    assert known.reading.beyond(0.05) == Verdict.WORSE
    assert vague.reading.beyond(0.05) == Verdict.SAME


def test_the_noise_floor_is_what_two_processes_of_the_same_sources_differ_by() -> None:
    measured = {side: {PLACE: exact(scale)} for side, scale in (("before", 1.0), ("now", 1.0), ("twin", 1.07))}
    comparison = SideBySide(Sources(), Sources(), {}, {})
    assert floors(comparison, measured, np.random.default_rng(0)) == {PLACE: pytest.approx(0.07)}


class Fake:
    """A side that takes a millisecond an iteration, and cannot train SGD; it notes what it was asked."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log = name, log

    def ask(self, what: str, cell: object) -> dict[str, object]:
        optimizer = getattr(cell, "optimizer", "")
        self.log.append(f"{self.name} {optimizer}")
        if optimizer == "sgd":
            raise CellError("out of order")
        return {"seconds": [1e-3, 2e-3], "reference": 1e-3}


def test_rounds_alternate_sides_in_turning_order_and_leave_out_what_failed(working_folder: Path) -> None:
    from suite.plan.cells import cells

    log: list[str] = []
    chosen = [cell for cell in cells(loaded(SMALL)) if cell.seed == 0]
    sides = {name: Fake(name, log) for name in ("now", "before")}
    measured, failed = measure(sides, chosen, 2)  # type: ignore[arg-type]
    assert log == ["now sgd", "now kpsvd", "before kpsvd", "before kpsvd", "now kpsvd"]
    assert failed == {("digits", "sgd"): "out of order"}
    assert measured["now"]["digits", "kpsvd"].seconds.shape == (2, 2)
    twice = joined(measured, measured)
    assert twice["before"]["digits", "kpsvd"].seconds.shape == (4, 2)
