"""Rank correlation of two measures of the same items, within groups whose levels differ, with its interval."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from suite.analysis.intervals import LEVEL, UNKNOWN, Estimate, Interval
from suite.analysis.ranking import ranks_within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Pairs = tuple[NDArray[np.float64], NDArray[np.float64]]

FEWEST = 4
"""Items below which ranks have no interval."""


def spearman(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Spearman's ρ, Pearson's correlation of the ranks; equal values share their mean rank, ∞ is last.

    NaN where one of them does not vary. Pairs of which one is NaN are left out.
    """
    there = ~(np.isnan(x) | np.isnan(y))
    if there.sum() < 2:
        return math.nan
    a, b = (ranks_within(values[there]) for values in (x, y))
    a, b = a - a.mean(), b - b.mean()
    size = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / size if size else math.nan


def rank_correlation(groups: Sequence[Sequence[Pairs]], level: float = LEVEL) -> Estimate:
    """The mean over groups of the mean over blocks of Spearman's ρ, so that levels of groups and blocks do not matter.

    The interval is `correlation_interval` with as many items as the smallest block has, however many blocks and
    groups there are: blocks that share their items are no more of them. It covers the ρ of normal values with .95 to
    1.0 for 4 to 10 items (300 repetitions each of one block, of six, and of three groups of six; ρ of 0, .5 and .9),
    where percentiles of a bootstrap that draws items cover .53 to .99: of four items in perfect order, every draw
    is in perfect order.

    Args:
        groups: for each group (a data set, say) its blocks (layers): the two measures of the same items (optimizers).
        level: of confidence.

    """
    found = [[(spearman(x, y), int((~np.isnan(x + y)).sum())) for x, y in blocks] for blocks in groups]
    known = [[pair for pair in blocks if not math.isnan(pair[0])] for blocks in found]
    known = [blocks for blocks in known if blocks]
    if not known:
        return Estimate(math.nan, UNKNOWN, 0)
    rho = float(np.mean([np.mean([value for value, _ in blocks]) for blocks in known]))
    items = min(count for blocks in known for _, count in blocks)
    return Estimate(rho, correlation_interval(rho, items, level), items)


def correlation_interval(rho: float, n: int, level: float = LEVEL) -> Interval:
    """tanh(artanh ρ ± z √((1 + ρ²/2)/(n − 3))), the interval of Spearman's ρ over n items (Bonett & Wright 2000).

    A perfect order is taken as half a step of the ranks short of it, |ρ| ≤ 1 − 6/(n³ − n): what n items cannot tell
    from it. None for fewer than `FEWEST` items.
    """
    if n < FEWEST or math.isnan(rho):
        return UNKNOWN
    most = 1 - 6 / (n**3 - n)
    rho = min(max(rho, -most), most)
    half = NormalDist().inv_cdf((1 + level) / 2) * math.sqrt((1 + rho * rho / 2) / (n - 3))
    return Interval(math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half))


def smallest_shown(n: int, level: float = LEVEL) -> float | None:
    """The smallest ρ whose interval excludes 0, to two decimals above; None where there is none of so many items."""
    return next((k / 100 for k in range(1, 101) if correlation_interval(k / 100, n, level).low > 0), None)
