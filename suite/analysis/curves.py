"""One curve for several seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class Band(NamedTuple):
    """Median and range over seeds at common places."""

    x: NDArray[np.float64]
    median: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    seeds: int


def band(runs: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]], points: int = 200) -> Band | None:
    """Median and range of curves (x ascending, y), linearly interpolated; None where there is nothing to draw.

    It goes from where all have begun to where the first ends, so that no step comes from a seed that drops out.
    """
    finite = [(x[np.isfinite(y)], y[np.isfinite(y)]) for x, y in runs]
    finite = [(x, y) for x, y in finite if len(x)]
    if not finite:
        return None
    start, end = max(x[0] for x, _ in finite), min(x[-1] for x, _ in finite)
    if start > end:
        return None
    grid = np.linspace(start, end, points)
    values = np.array([np.interp(grid, x, y) for x, y in finite])
    return Band(grid, np.median(values, axis=0), values.min(axis=0), values.max(axis=0), len(finite))
