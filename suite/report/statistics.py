"""What a report says beyond means: differences at equal seeds, speed-ups, ranks that are shared, profiles."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from suite.analysis.intervals import Estimate, Interval, mean_over_groups
from suite.analysis.paired import difference, probability_lower, probability_over_groups, wins
from suite.analysis.profiles import profiles, time_ratios
from suite.analysis.ranking import ranks_within, shared_ranks, shown_lower
from suite.analysis.speedup import Speedup, speedup
from suite.report.model import CLOCKS, ProfileChart
from suite.report.targets import observations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from suite.report.model import Board, Clock, Standing

BASELINES = ("adam", "sgd", "kfac")
"""Methods that every optimizer is held against, each by its best optimizer."""

SEED = 0
"""Of every random draw in a report: so that the report of a store is the same to the last byte."""


class Versus(NamedTuple):
    """An optimizer against a baseline, by the training losses at the end of equal seeds."""

    optimizer: str
    baseline: str
    difference: Estimate  # optimizer − baseline, nats per example
    beats: Estimate  # the probability that the optimizer ends lower


class Faster(NamedTuple):
    """An optimizer against a baseline, by the time to a target at equal seeds."""

    optimizer: str
    baseline: str
    speedups: dict[Clock, Speedup]


class Overall(NamedTuple):
    """An optimizer over all data sets."""

    optimizer: str
    rank: Estimate  # among all that were compared, mean over data sets of the mean over seeds
    beats: dict[str, Estimate]  # baseline → the probability that the optimizer ends lower


def final_losses(standing: Standing) -> dict[int, float]:
    """By seed, the evaluated training loss at the end; ∞ for a run that diverged."""
    return {
        r.cell.seed: float(r.evaluations.train_loss[-1]) if r.run.status == "done" else math.inf
        for r in standing.results
        if r.run.status != "done" or len(r.evaluations.train_loss)
    }


def tied_ranks(standings: Sequence[Standing]) -> list[int | None]:
    """1 + the number of optimizers shown better, in the order of `standings`; None without a result.

    Better is shown where the paired interval of the difference excludes 0; and whoever diverged on no seed is better
    than who did on some. There are as many comparisons as pairs, each at its own level.
    """
    ranked = [standing for standing in standings if standing.train_loss.n]
    losses = [final_losses(standing) for standing in ranked]
    seeds = sorted({seed for each in losses for seed in each})
    better = shown_lower(np.array([[each.get(seed, math.nan) for seed in seeds] for each in losses]))
    diverged = np.array([standing.diverged > 0 for standing in ranked], dtype=bool)
    alike = diverged[:, None] == diverged
    found = dict(zip(map(id, ranked), shared_ranks(better & alike | ~diverged[:, None] & diverged), strict=True))
    return [found.get(id(standing)) for standing in standings]


def against_baselines(board: Board) -> list[Versus]:
    """Every optimizer that is shown against every baseline."""
    return [
        Versus(
            ours.optimizer,
            theirs.optimizer,
            difference(final_losses(ours), final_losses(theirs)),
            probability_lower(final_losses(ours), final_losses(theirs)),
        )
        for ours, theirs in _matches(board)
    ]


def speedups(board: Board, target: float) -> list[Faster]:
    """The same by the time to a target."""
    return [
        Faster(
            ours.optimizer,
            theirs.optimizer,
            {
                clock: speedup(observations(ours.results, target, clock), observations(theirs.results, target, clock))
                for clock in CLOCKS
            },
        )
        for ours, theirs in _matches(board)
    ]


def _matches(board: Board) -> list[tuple[Standing, Standing]]:
    """Of two baselines, the better one against the other alone."""
    best: dict[str, Standing] = {}
    for standing in board.shown:
        if standing.method in BASELINES:
            best.setdefault(standing.method, standing)
    chosen = [best[method] for method in BASELINES if method in best]
    place = {standing.optimizer: i for i, standing in enumerate(board.shown)}
    return [
        (ours, theirs)
        for ours in board.shown
        for theirs in chosen
        if ours is not theirs and (ours not in chosen or place[ours.optimizer] < place[theirs.optimizer])
    ]


def common(boards: Sequence[Board]) -> list[str]:
    """Optimizers that are measured on every board and shown on one."""
    measured = [{s.optimizer for s in board.standings if s.results} for board in boards]
    shown = dict.fromkeys(s.optimizer for board in boards for s in board.shown)
    return [label for label in shown if all(label in labels for labels in measured)]


def overall(boards: Sequence[Board]) -> list[Overall]:
    """The ranking over all data sets, best first; empty of one data set, or of fewer than two optimizers.

    On each data set the seeds count that all the optimizers have. Intervals are for data sets that were not measured:
    Student's over data sets for the rank, Clopper and Pearson's with data sets as trials for the probability.
    """
    labels = common(boards)
    groups = [_finals(board, labels) for board in boards]
    if len(boards) < 2 or len(labels) < 2 or not all(map(len, groups)):
        return []
    ranks = [ranks_within(group) for group in groups]
    means = {label: mean_over_groups([each[:, i] for each in ranks]) for i, label in enumerate(labels)}
    order = sorted(labels, key=lambda label: means[label].value)
    methods = {s.optimizer: s.method for board in boards for s in board.standings}
    best: dict[str, str] = {}
    for label in order:
        best.setdefault(methods[label], label)
    baselines = [best[method] for method in BASELINES if method in best]
    columns = {label: [dict(enumerate(group[:, i])) for group in groups] for i, label in enumerate(labels)}
    return [
        Overall(
            label,
            means[label]._replace(interval=_clipped(means[label].interval, 1, len(labels))),
            {
                other: probability_over_groups(
                    [wins(a, b) for a, b in zip(columns[label], columns[other], strict=True)]
                )
                for other in baselines
                if other != label
            },
        )
        for label in order
    ]


def _clipped(interval: Interval, low: float, high: float) -> Interval:
    return Interval(max(interval.low, low), min(interval.high, high)) if interval.known else interval


def _finals(board: Board, labels: Sequence[str]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """(seeds, optimizers), of the seeds that all have."""
    losses = {s.optimizer: final_losses(s) for s in board.standings}
    seeds = sorted(set.intersection(*(set(losses[label]) for label in labels))) if labels else []
    return np.array([[losses[label][seed] for label in labels] for seed in seeds], dtype=np.float64)


def profile_chart(boards: Sequence[Board]) -> ProfileChart | None:
    """Performance profiles over data sets, targets and seeds; None without a target or without two optimizers.

    A problem counts where every optimizer has a result, diverged or not.
    """
    boards = [board for board in boards if any(not math.isnan(target.value) for target in board.targets)]
    labels = common(boards)
    if len(labels) < 2:
        return None
    by_clock = {}
    for clock in CLOCKS:
        times = [group for board in boards if len(group := _times(board, labels, clock))]
        if not times:
            return None
        ratios = np.concatenate([time_ratios(group).ravel() for group in times])
        furthest = max(2.0, float(ratios[np.isfinite(ratios)].max(initial=1.0)))
        factors = np.geomspace(1, 1.1 * furthest, 200)
        by_clock[clock] = profiles(times, factors, np.random.default_rng(SEED))
    return ProfileChart(labels, by_clock)


def _times(board: Board, labels: Sequence[str], clock: Clock) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """(seeds, targets, optimizers), ∞ for a miss."""
    results = {s.optimizer: s.results for s in board.standings}
    targets = [target.value for target in board.targets if not math.isnan(target.value)]
    found = [[observations(results[label], target, clock) for label in labels] for target in targets]
    seeds = sorted(set.intersection(*(set(runs) for row in found for runs in row)))
    return np.array(
        [[[runs[s].time if runs[s].reached else math.inf for runs in row] for row in found] for s in seeds],
        dtype=np.float64,
    )
