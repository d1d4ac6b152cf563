"""The numbers of a report, read from the store: one standing for each optimizer on each data set."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from suite.analysis.intervals import UNKNOWN, Interval, t_interval
from suite.analysis.summary import Spread, spread
from suite.records import PHASES
from suite.report.beside import besides
from suite.report.compression import kinds
from suite.report.statistics import profile_chart, tied_ranks
from suite.report.targets import Resolved, TargetTime, resolve, target_times
from suite.store import queries

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from suite.matrix import Cell
    from suite.records import FisherError, InverseRank
    from suite.report.beside import Beside
    from suite.report.compression import Kind
    from suite.report.statistics import ProfileChart
    from suite.spec import Spec
    from suite.stage import Stage
    from suite.store import EnvironmentRow, RunRow, Store
    from suite.store.queries import Course, Evaluations
    from suite.tuning.studies import Study


MOST_SHOWN = 10
"""Optimizers that one figure shows by name."""


@dataclass(frozen=True, eq=False)
class Result:
    """A measured cell with its records."""

    cell: Cell
    run: RunRow
    evaluations: Evaluations
    course: Course
    fisher_errors: list[FisherError]
    inverse_ranks: list[InverseRank]

    @property
    def own_errors(self) -> list[FisherError]:
        """Those of the optimizer's own running approximation."""
        return [row for row in self.fisher_errors if row.own]

    @property
    def fitted_errors(self) -> list[FisherError]:
        """Those of the approximations that were fitted for the measurement."""
        return [row for row in self.fisher_errors if not row.own]


class FisherMean(NamedTuple):
    """Errors of the optimizer's own approximation at the last measurement, their mean over layers and seeds."""

    rank: int | None
    in_batch: float
    held_out: float
    best_in_batch: float
    best_held_out: float
    efficiency: float


@dataclass(frozen=True, eq=False)
class Standing:
    """An optimizer on a data set, over its seeds. Losses are in nats per example."""

    optimizer: str
    method: str
    batch_size: int
    results: list[Result]  # measured seeds, diverged ones included
    cells: int
    train_loss: Spread  # at the end; over the seeds that did not diverge
    test_loss: Spread
    best_train_loss: float  # the lowest evaluation of any seed
    seconds_per_iteration: float  # training clock, median over seeds
    cost_ratio: float | None  # of seconds_per_iteration to Adam's at the same batch size
    fisher: FisherMean | None
    phases: dict[str, float]  # the same by phase: they add up to it
    interval: Interval = UNKNOWN  # of train_loss.mean, over seeds
    targets: tuple[TargetTime, ...] = ()  # for each target of the board
    rank: int | None = None  # shared where no difference is shown; None without a result

    @property
    def refreshes(self) -> float:
        """The share of curvature and inversion in an iteration's seconds."""
        refreshing = self.phases["curvature"] + self.phases["inversion"]
        return refreshing / self.seconds_per_iteration

    @property
    def diverged(self) -> int:
        """Seeds that diverged."""
        return sum(result.run.status == "diverged" for result in self.results)


@dataclass(frozen=True, eq=False)
class Board:
    """The leaderboard of one data set, by rank and within a rank by the mean loss.

    An optimizer with a diverged seed stands below all without: a mean over the survivors alone is no result of
    its own. Optimizers without a result are last.
    """

    dataset: str
    problem: str  # the data as they were: "curves-synthetic"
    likelihood: str
    pixels: int
    floor: float | None
    test_floor: float | None
    parameters: int
    standings: list[Standing]
    targets: list[Resolved]

    @property
    def shown(self) -> list[Standing]:
        """What a figure can tell apart: every measured optimizer, or of many the best of each method."""
        measured = [standing for standing in self.standings if standing.results]
        if len(measured) <= MOST_SHOWN:
            return measured
        best: dict[str, Standing] = {}
        for standing in measured:
            best.setdefault(standing.method, standing)
        return list(best.values())


class Gap(NamedTuple):
    """A cell without a result, and why."""

    cell: Cell
    state: str
    error: str | None


@dataclass(frozen=True, eq=False)
class Findings:
    """Everything that a report says."""

    spec: Spec
    boards: list[Board]
    gaps: list[Gap]
    diverged: list[Result]
    compressions: list[Kind]  # of networks that these cells have trained
    studies: Sequence[Study]
    environments: list[EnvironmentRow]
    fingerprints: list[str]
    cells: int
    measured: int
    contended: int
    reference: Spread  # seconds of the reference workload, over runs
    ended: str | None  # date of the last run
    besides: dict[str, list[Beside]]  # data set → what was published beside what is measured

    @cached_property
    def profile(self) -> ProfileChart | None:
        """Performance profiles over all boards."""
        return profile_chart(self.boards)


def findings(store: Store, spec: Spec, stage: Stage, fingerprint: str | None) -> Findings:
    """Read all that the report of these cells says."""
    cells = stage.finals
    keys = [cell.key for cell in stage.measured]
    measured = store.measured(keys, fingerprint)
    latest = store.latest(keys)
    results = [
        Result(
            cell,
            measured[cell.key],
            queries.evaluations(store, measured[cell.key].id),
            queries.course(store, measured[cell.key].id),
            queries.fisher_errors(store, measured[cell.key].id),
            queries.inverse_ranks(store, measured[cell.key].id),
        )
        for cell in cells
        if cell.key in measured
    ]
    runs = list(measured.values())
    ends = sorted(run.ended_at for run in runs if run.ended_at is not None)
    boards = [
        board
        for dataset in dict.fromkeys(cell.dataset for cell in cells)
        if (board := _board(spec, dataset, cells, results)) is not None
    ]
    return Findings(
        spec=spec,
        boards=boards,
        gaps=[
            *(_gap(cell, latest.get(cell.key)) for cell in stage.measured if cell.key not in measured),
            *(Gap(c, "diverged", None) for c in stage.compressions if _status(measured.get(c.key)) == "diverged"),
            *(Gap(cell, "waits for its tuning", None) for cell in stage.waiting),
        ],
        compressions=kinds(store, stage.compressions, measured),
        studies=stage.studies,
        diverged=[result for result in results if result.run.status == "diverged"],
        environments=store.environments(runs),
        fingerprints=sorted({run.fingerprint for run in runs}),
        cells=len(stage.measured) + len(stage.waiting),
        measured=len(measured),
        contended=sum(run.contended for run in runs),
        reference=spread([run.reference_seconds for run in runs if run.reference_seconds is not None]),
        ended=ends[-1].strftime("%Y-%m-%d") if ends else None,
        besides={} if spec.published is None else {b.dataset: besides(store, b, spec.published) for b in boards},
    )


def _status(run: RunRow | None) -> str | None:
    return None if run is None else run.status


def _gap(cell: Cell, attempt: RunRow | None) -> Gap:
    if attempt is None:
        return Gap(cell, "not run", None)
    if attempt.status in ("done", "diverged"):
        return Gap(cell, "measured with other sources of kfsvd only", None)
    return Gap(cell, attempt.status, attempt.error)


def _board(spec: Spec, dataset: str, cells: Sequence[Cell], results: Sequence[Result]) -> Board | None:
    mine = [result for result in results if result.cell.dataset == dataset]
    if not mine:
        return None
    per_iteration = {
        optimizer: _seconds_per_iteration([r for r in mine if r.cell.optimizer == optimizer])
        for optimizer in dict.fromkeys(result.cell.optimizer for result in mine)
    }
    adam: dict[int, float] = {}  # by batch size, the fastest
    for cell in (r.cell for r in mine if r.cell.method.method == "adam"):
        adam[cell.batch_size] = min(per_iteration[cell.optimizer], adam.get(cell.batch_size, math.inf))
    standings = [
        _standing(
            optimizer,
            [cell for cell in cells if cell.dataset == dataset and cell.optimizer == optimizer],
            [result for result in mine if result.cell.optimizer == optimizer],
            adam,
        )
        for optimizer in dict.fromkeys(cell.optimizer for cell in cells if cell.dataset == dataset)
    ]
    described = next((result.run for result in mine if result.run.pixels is not None), mine[0].run)
    targets = [resolve(target, standings, described.floor) for target in spec.targets.get(dataset, ())]
    times = [target_times(standings, target) for target in targets]
    standings = [
        replace(standing, rank=rank, targets=tuple(each[place] for each in times))
        for place, (standing, rank) in enumerate(zip(standings, tied_ranks(standings), strict=True))
    ]
    standings.sort(key=lambda s: (s.rank is None, s.rank or 0, s.train_loss.mean))
    return Board(
        dataset=dataset,
        problem=described.problem or dataset,
        likelihood=mine[0].cell.problem.likelihood,
        pixels=described.pixels or 1,
        floor=described.floor,
        test_floor=described.test_floor,
        parameters=described.parameters or 0,
        standings=standings,
        targets=targets,
    )


def _standing(
    optimizer: str,
    cells: Sequence[Cell],
    results: list[Result],
    adam: Mapping[int, float],
) -> Standing:
    finite = [r for r in results if r.run.status == "done" and len(r.evaluations.train_loss)]
    each = _seconds_per_iteration(results)
    ends = [float(r.evaluations.train_loss[-1]) for r in finite]
    lowest = [np.nanmin(r.evaluations.train_loss) for r in results if np.isfinite(r.evaluations.train_loss).any()]
    return Standing(
        optimizer=optimizer,
        method=cells[0].method.method,
        batch_size=cells[0].batch_size,
        results=results,
        cells=len(cells),
        train_loss=spread(ends),
        test_loss=spread([float(r.evaluations.test_loss[-1]) for r in finite]),
        best_train_loss=float(min(lowest)) if lowest else math.nan,
        seconds_per_iteration=each,
        cost_ratio=each / adam[cells[0].batch_size] if adam.get(cells[0].batch_size) else None,
        fisher=_fisher_mean(results),
        phases=_phases(results),
        interval=t_interval(ends),
    )


def _seconds_per_iteration(results: Sequence[Result]) -> float:
    each = [r.course.total_seconds / r.course.iterations for r in results if r.course.iterations]
    return float(np.median(each)) if each else math.nan


def _phases(results: Sequence[Result]) -> dict[str, float]:
    """Seconds of an iteration by phase, of the seed in the middle: so that they add up to the median of the totals."""
    courses = [r.course for r in results if r.course.iterations]
    courses.sort(key=lambda course: course.total_seconds / course.iterations)
    middle = courses[(len(courses) - 1) // 2 : len(courses) // 2 + 1]
    each = {phase: [course.phases[phase] / course.iterations for course in middle] for phase in PHASES}
    return {phase: float(np.mean(values)) if values else math.nan for phase, values in each.items()}


def _fisher_mean(results: Sequence[Result]) -> FisherMean | None:
    rows = [row for r in results for row in last_own_errors(r)]
    rows = [row for row in rows if not math.isnan(row.in_batch + row.held_out)]
    if not rows:
        return None
    names = FisherMean._fields[1:]
    means = np.array([[getattr(row, name) for name in names] for row in rows]).mean(0)
    return FisherMean(rows[0].rank, *(float(value) for value in means))


def last_own_errors(result: Result) -> list[FisherError]:
    """The errors of a run's own approximation at its last measurement, a row a layer."""
    rows = result.own_errors
    return [row for row in rows if row.iteration == rows[-1].iteration]
