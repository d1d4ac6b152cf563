"""Targets of a data set as numbers, and how soon runs reach them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from suite.analysis.summary import first_reached, median_with_misses
from suite.analysis.survival import Observation, horizon, restricted_mean
from suite.report.model import CLOCKS, Clock, Resolved, TargetTime
from suite.spec.grids import same_label
from suite.spec.schema import BestOf, Between

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from suite.report.model import Result, Standing
    from suite.spec.schema import Target


def resolve(target: Target, standings: Sequence[Standing], floor: float | None) -> Resolved:
    """The number that a target is, by what the optimizers of a data set did."""
    if isinstance(target, BestOf):
        return _reference(target, standings, floor)
    if not isinstance(target, Between):
        return Resolved(f"{target:g}", target)
    start, end = (_reference(each, standings, floor) for each in target.between)
    first, last = (
        each.definition if each.why or not each.definition.startswith("the ") else f"{each.definition} ({each.name})"
        for each in (start, end)
    )
    return Resolved(
        f"{100 * target.fraction:g} % of the way from {first} to {last}",
        start.value + target.fraction * (end.value - start.value),
        start.why or end.why,
    )


def _reference(reference: float | str | BestOf, standings: Sequence[Standing], floor: float | None) -> Resolved:
    if isinstance(reference, BestOf):
        name = reference.best_of
        ends = [s.train_loss.mean for s in standings if s.method == name or same_label(name, s.optimizer)]
        best = min((end for end in ends if not math.isnan(end)), default=math.nan)
        return Resolved(f"the best of {name}", best, f"no run of {name} has ended" if math.isnan(best) else "")
    if reference == "start":
        value = _start(result for standing in standings for result in standing.results)
        return Resolved("the start", value, "no loss at iteration 0 is measured" if math.isnan(value) else "")
    if reference == "floor":
        known = floor is not None
        return Resolved("the floor", floor if floor is not None else math.nan, "" if known else "no floor is known")
    return Resolved(f"{reference:g}", float(reference))


def _start(results: Iterable[Result]) -> float:
    """The mean over seeds of the loss at iteration 0; all optimizers start a seed from the same weights."""
    starts = {
        r.cell.seed: float(r.evaluations.train_loss[0])
        for r in results
        if len(r.evaluations.iteration) and r.evaluations.iteration[0] == 0 and np.isfinite(r.evaluations.train_loss[0])
    }
    return sum(starts.values()) / len(starts) if starts else math.nan


def observations(results: Iterable[Result], target: float, clock: Clock) -> dict[int, Observation]:
    """By seed, when a run was first evaluated at or below the target, or until when it was looked at.

    A run that diverged before will never reach it.
    """
    found = {}
    for result in results:
        times = getattr(result.evaluations, clock)
        hit = first_reached(result.evaluations.train_loss, target)
        if hit is not None:
            found[result.cell.seed] = Observation(float(times[hit]), reached=True)
        elif result.run.status == "diverged" or not len(times):
            found[result.cell.seed] = Observation(math.inf, reached=False)
        else:
            found[result.cell.seed] = Observation(float(times[-1]), reached=False)
    return found


def horizons(standings: Sequence[Standing], target: float) -> dict[Clock, float]:
    """The τ that the mean times of all optimizers are restricted to, for each clock."""
    return {
        clock: horizon(list(observations(s.results, target, clock).values()) for s in standings) for clock in CLOCKS
    }


def target_times(standings: Sequence[Standing], target: Resolved) -> list[TargetTime]:
    """How soon each optimizer reaches a target; of one that is no number, no run counts."""
    if math.isnan(target.value):
        nothing = TargetTime(math.nan, target.definition, None, None, None, math.nan, math.nan, math.nan, 0, 0)
        return [nothing for _ in standings]
    limits = horizons(standings, target.value)
    return [_target_time(standing, target, limits) for standing in standings]


def _target_time(standing: Standing, target: Resolved, limits: dict[Clock, float]) -> TargetTime:
    runs: dict[Clock, list[Observation]] = {
        clock: list(observations(standing.results, target.value, clock).values()) for clock in CLOCKS
    }
    medians = {c: median_with_misses([o.time if o.reached else None for o in each]) for c, each in runs.items()}
    means = {c: restricted_mean(each, limits[c]) for c, each in runs.items()}
    return TargetTime(
        target=target.value,
        definition=target.definition,
        iterations=medians["iteration"],
        seconds=medians["seconds"],
        cpu_seconds=medians["cpu_seconds"],
        mean_iterations=means["iteration"],
        mean_seconds=means["seconds"],
        mean_cpu_seconds=means["cpu_seconds"],
        hits=sum(o.reached for o in runs["iteration"]),
        of=len(standing.results),
    )
