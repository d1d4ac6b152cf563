"""Approximations fitted to the same batches along a training: their errors by layer, means over seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from suite.report.formats.numbers import in_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from suite.records import FisherError
    from suite.report.model import Board, Standing

    Curve = tuple[NDArray[np.float64], NDArray[np.float64]]

_ERRORS = ("in_batch", "held_out", "best_in_batch", "best_held_out", "spectrum")


@dataclass(frozen=True, eq=False)
class Comparison:
    """What approximations do on the network that an optimizer trains, over the seeds that did not diverge."""

    optimizer: str
    seeds: int
    approximations: tuple[str, ...]  # in the order of the spec
    layers: list[str]  # in the order of the network
    course: dict[int, dict[tuple[str, str], FisherError]]  # iteration → (layer, approximation), where all seeds have it

    @property
    def last(self) -> dict[tuple[str, str], FisherError]:
        """The last measurement: (layer, approximation) → errors."""
        return self.course[max(self.course)]

    @property
    def ranks(self) -> list[int]:
        """The ranks of the approximations, for each of which there is an optimum."""
        return sorted({row.rank for row in self.last.values() if row.rank is not None})

    def curve(self, layer: str, approximation: str, what: str) -> Curve:
        """Iterations, and the error `what` (a field of `FisherError`) there."""
        values = [getattr(rows[layer, approximation], what) for rows in self.course.values()]
        return np.array(list(self.course), dtype=np.float64), np.array(values, dtype=np.float64)

    def has(self, what: str) -> bool:
        """Whether the error `what` was measured at all."""
        return any(math.isfinite(getattr(row, what)) for row in self.last.values())

    def of_rank(self, rank: int) -> str:
        """An approximation of that rank: its rows hold the rank's optimum."""
        return next(row.approximation for row in self.last.values() if row.rank == rank)


def comparisons(board: Board) -> list[Comparison]:
    """A comparison for each optimizer that is shown and along whose training approximations were fitted."""
    return [found for standing in board.shown if (found := _comparison(standing)) is not None]


def _comparison(standing: Standing) -> Comparison | None:
    runs = [r.fitted_errors for r in standing.results if r.run.status == "done"]
    common = set.intersection(*({row.iteration for row in rows} for rows in runs)) if runs else set()
    if not common:
        return None
    course = {i: _means(row for rows in runs for row in rows if row.iteration == i) for i in sorted(common)}
    measured = course[max(common)]
    return Comparison(
        optimizer=standing.optimizer,
        seeds=len(runs),
        approximations=standing.results[0].cell.measure.fisher_approximations,
        layers=in_order({layer for layer, _ in measured}),
        course=course,
    )


def _means(rows: Iterable[FisherError]) -> dict[tuple[str, str], FisherError]:
    """The mean over seeds for each layer and approximation."""
    groups: dict[tuple[str, str], list[FisherError]] = {}
    for row in rows:
        groups.setdefault((row.layer, row.approximation), []).append(row)
    return {key: _mean(group) for key, group in groups.items()}


def _mean(rows: Sequence[FisherError]) -> FisherError:
    means: dict[str, Any] = {name: _finite_mean([getattr(row, name) for row in rows]) for name in _ERRORS}
    return rows[0]._replace(**means)


def _finite_mean(values: Sequence[float]) -> float:
    """The mean of the seeds whose layer is alive; NaN where none is."""
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan
