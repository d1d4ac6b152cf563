"""What a report says, as plain data: results, standings, leaderboards, and all that is found."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from suite.analysis.intervals import UNKNOWN, Estimate, Interval
from suite.report.formats.numbers import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from suite.analysis.profiles import Profiles
    from suite.analysis.summary import Spread
    from suite.cell import Cell
    from suite.methods.compression import Compressor
    from suite.plan.studies import Study
    from suite.records import Compressed, FisherError, InverseRank
    from suite.spec.published import PublishedCurve
    from suite.spec.reading import Spec
    from suite.store import EnvironmentRow, RunRow
    from suite.store.queries import Course, Evaluations

    Curve = tuple[NDArray[np.float64], NDArray[np.float64]]

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
    profile: ProfileChart | None  # performance profiles over all boards


Clock = Literal["iteration", "seconds", "cpu_seconds"]


CLOCKS: dict[Clock, str] = {"iteration": "iterations", "seconds": "seconds", "cpu_seconds": "CPU seconds"}
"""What a time to a target is counted in, and what that is called."""


class Resolved(NamedTuple):
    """A target of the spec as a number, in nats per example."""

    definition: str  # in words: "the best of adam"
    value: float  # NaN where it does not follow from what is measured
    why: str = ""  # … and why not

    @property
    def name(self) -> str:
        """The number as headings show it: a given one as it was given, another to four digits."""
        given = f"{self.value:g}"
        return given if self.definition == given else number(self.value, 4)


class TargetTime(NamedTuple):
    """How soon the seeds of an optimizer reach a target."""

    target: float
    definition: str
    iterations: float | None  # median over seeds; None: a miss
    seconds: float | None
    cpu_seconds: float | None
    mean_iterations: float  # restricted to the horizon of the board, see `horizons`
    mean_seconds: float
    mean_cpu_seconds: float
    hits: int
    of: int


class Beside(NamedTuple):
    """An optimizer's losses by epoch, and those that were published."""

    standing: Standing
    curve: PublishedCurve
    runs: list[Curve]  # of each seed that did not diverge: complete epochs, mean batch losses
    epoch: int | None  # the last that all these seeds and the published run have
    ours: Spread  # the loss there, over seeds
    theirs: float
    difference: Estimate  # (ours − theirs) / theirs, mean over seeds


class ProfileChart(NamedTuple):
    """Performance profiles of some optimizers."""

    optimizers: list[str]
    by_clock: dict[Clock, Profiles]


LOSSES = {"training": "train_loss", "test": "test_loss"}


class Smaller(NamedTuple):
    """A measured cell, and what its network was compressed to."""

    cell: Cell
    run: RunRow
    rows: list[Compressed]

    @property
    def label(self) -> str:
        """The method's, in the spec."""
        assert self.cell.compression is not None
        return self.cell.compression.label


@dataclass(frozen=True, eq=False)
class Kind:
    """The methods of one kind on the networks of one data set."""

    dataset: str
    name: str  # "elements", "rows", "columns" or "low rank", and of which layers where not of all
    trained_by: str
    floor: float | None
    results: list[Smaller]

    @property
    def methods(self) -> dict[str, Compressor]:
        """Label → method, in the order of the spec."""
        found = {}
        for result in self.results:
            assert result.cell.compression is not None
            found[result.label] = result.cell.compression.method
        return found

    @property
    def ratios(self) -> list[float]:
        """Those of any result, the largest first."""
        return sorted({row.ratio for result in self.results for row in result.rows}, reverse=True)

    @property
    def moments(self) -> list[int]:
        """Iterations of fine-tuning at which losses were measured: 0, and the end."""
        return sorted({row.iteration for result in self.results for row in result.rows})

    def losses(self, label: str, ratio: float, iteration: int, what: str) -> dict[int, float]:
        """Seed → loss; infinite where it is no number."""
        return {
            result.cell.seed: value if math.isfinite(value) else math.inf
            for result in self.results
            if result.label == label
            for row in result.rows
            if (row.ratio, row.iteration) == (ratio, iteration)
            for value in [float(getattr(row, what))]
        }

    def parameters(self, label: str, ratio: float) -> int | None:
        """What is left of the whole network; None where it was not measured."""
        rows = (row for result in self.results if result.label == label for row in result.rows)
        return next((row.parameters for row in rows if row.ratio == ratio), None)
