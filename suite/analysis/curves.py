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


def band(runs: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]], points: int | None = 200) -> Band | None:
    """Median and range of curves (x ascending, y), linearly interpolated; None where there is nothing to draw.

    It goes from where all have begun to where the first ends, so that no step comes from a seed that drops out.

    Args:
        runs: the curve of each seed.
        points: so many places at equal distances; None: every place where any seed has a point, and no peak is missed.

    """
    finite = [(x[np.isfinite(y)], y[np.isfinite(y)]) for x, y in runs]
    finite = [(x, y) for x, y in finite if len(x)]
    if not finite:
        return None
    start, end = max(x[0] for x, _ in finite), min(x[-1] for x, _ in finite)
    if start > end:
        return None
    if points is None:
        places = np.unique(np.concatenate([x for x, _ in finite]))
        grid = places[(start <= places) & (places <= end)]
    else:
        grid = np.linspace(start, end, points)
    values = np.array([np.interp(grid, x, y) for x, y in finite])
    return Band(grid, np.median(values, axis=0), values.min(axis=0), values.max(axis=0), len(finite))


def thinned(found: Band, most: int) -> Band:
    """The same at no more than `most` places: bins of neighbours, none of whose extremes is lost.

    A bin stands at its last place, with the mean of its medians, its lowest `low` and its highest `high`.
    """
    if len(found.x) <= most:
        return found
    starts = np.arange(most) * len(found.x) // most
    ends = np.append(starts[1:], len(found.x))
    return Band(
        found.x[ends - 1],
        np.add.reduceat(found.median, starts) / (ends - starts),
        np.minimum.reduceat(found.low, starts),
        np.maximum.reduceat(found.high, starts),
        found.seeds,
    )
