"""What inverses of low rank keep of each layer's directions, over the seeds that did not diverge."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from suite.report.formats.numbers import in_order

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from suite.records import InverseRank
    from suite.report.model import Board

    Curve = tuple[NDArray[np.float64], NDArray[np.float64]]


class Kept(NamedTuple):
    """Directions of a layer that are kept at the last measurement, median over seeds."""

    inputs: float
    outputs: float
    dense: bool  # whether every seed has a dense inverse there
    bound: float  # the largest of the seeds


@dataclass(frozen=True, eq=False)
class Ranks:
    """The ranks of the optimizers that are shown and record any."""

    layers: dict[str, tuple[int, int]]  # in the order of the network: the widths of inputs and outputs
    runs: dict[str, list[list[InverseRank]]]  # optimizer → records by seed
    bound: float  # the largest of all measurements

    def last(self, optimizer: str, layer: str) -> Kept:
        """What an optimizer keeps of a layer at its end."""
        rows = [max((r for r in run if r.layer == layer), key=lambda r: r.iteration) for run in self.runs[optimizer]]
        dense = all((row.inputs, row.outputs) == (row.width_in, row.width_out) for row in rows)
        inputs, outputs = median(row.inputs for row in rows), median(row.outputs for row in rows)
        return Kept(inputs, outputs, dense, max(row.bound for row in rows))

    def curves(self, optimizer: str, layer: str, side: str) -> list[Curve]:
        """Iterations and the `inputs` or `outputs` kept there, seed by seed."""
        return [
            (np.array([r.iteration for r in rows], np.float64), np.array([getattr(r, side) for r in rows], np.float64))
            for run in self.runs[optimizer]
            for rows in [[row for row in run if row.layer == layer]]
        ]


def ranks(board: Board) -> Ranks | None:
    """The ranks of a data set; None where none were recorded."""
    runs = {
        standing.optimizer: found
        for standing in board.shown
        if (found := [r.inverse_ranks for r in standing.results if r.run.status == "done" and r.inverse_ranks])
    }
    rows = [row for found in runs.values() for run in found for row in run]
    if not rows:
        return None
    widths = {row.layer: (row.width_in, row.width_out) for row in rows}
    bound = max((row.bound for row in rows if not math.isnan(row.bound)), default=math.nan)
    return Ranks({layer: widths[layer] for layer in in_order(widths)}, runs, bound)
