"""What is measured held against what was published: losses by epoch, and how far apart they are at the end."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from suite.analysis.intervals import UNKNOWN, Estimate, t_interval
from suite.analysis.summary import spread
from suite.report.model import Beside
from suite.store import queries

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from suite.report.model import Board, Standing
    from suite.spec.published import Published, PublishedCurve
    from suite.store import Store

    Curve = tuple[NDArray[np.float64], NDArray[np.float64]]


def besides(store: Store, board: Board, given: Published) -> list[Beside]:
    """A comparison for each optimizer of a board that has a published curve and a seed that did not diverge."""
    found = []
    for standing in board.standings:
        curve = given.curves.get((board.dataset, standing.optimizer))
        runs = [queries.epochs(store, r.run.id) for r in standing.results if r.run.status == "done"]
        if curve is not None and runs:
            found.append(_beside(standing, curve, runs))
    return found


def _beside(standing: Standing, curve: PublishedCurve, runs: list[Curve]) -> Beside:
    common = set(range(1, len(curve.losses) + 1)).intersection(*(map(int, epochs) for epochs, _ in runs))
    if not common:
        return Beside(standing, curve, runs, None, spread([]), math.nan, Estimate(math.nan, UNKNOWN, 0))
    epoch = max(common)
    ours, theirs = [float(losses[epochs == epoch][0]) for epochs, losses in runs], curve.losses[epoch - 1]
    relative = [(loss - theirs) / theirs for loss in ours]
    difference = Estimate(float(np.mean(relative)), t_interval(relative), len(relative))
    return Beside(standing, curve, runs, epoch, spread(ours), theirs, difference)
