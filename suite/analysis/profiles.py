"""Performance profiles (Dolan & Moré 2002): how often a method is within a factor of the fastest."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from suite.analysis.bootstrap import hierarchical_bootstrap, percentile_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class Profiles(NamedTuple):
    """Shares of problems that each solver solves within a factor of the fastest one's time."""

    factors: NDArray[np.float64]  # (points,)
    shares: NDArray[np.float64]  # (solvers, points)
    low: NDArray[np.float64]  # … of its band; NaN where there is a single seed on a single data set
    high: NDArray[np.float64]
    problems: int


def time_ratios(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ratios t/min t over solvers, the last axis; ∞ for a miss, also where every solver misses."""
    best = times.min(axis=-1, keepdims=True)
    ratios = np.full(times.shape, np.inf)
    np.divide(times, best, out=ratios, where=np.isfinite(times) & (best > 0))
    ratios[np.isfinite(times) & (times == best)] = 1.0  # a time of zero too
    return ratios


def profiles(
    times: Sequence[NDArray[np.float64]],
    factors: NDArray[np.float64],
    generator: np.random.Generator,
    draws: int = 1000,
) -> Profiles:
    """ρ_s(τ), the share of problems that solver s solves within τ times the time of the fastest.

    Args:
        times: for each data set (seeds, targets, solvers); ∞ for a miss. A problem is a data set, seed and target.
        factors: the τ at which shares are wanted, from 1 on.
        generator: of the band.
        draws: repetitions of the hierarchical bootstrap, in which the targets of a seed stay together. Its band
            holds at each factor by itself. With few data sets or seeds it is too narrow, see `percentile_interval`.

    """
    within = [(time_ratios(group)[..., None] <= factors).astype(np.float64) for group in times]

    def shares(groups: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        total = np.sum([group.sum((0, 1)) for group in groups], axis=0)
        return np.asarray(total / sum(group.shape[0] * group.shape[1] for group in groups))

    found = shares(within)
    low = high = np.full(found.shape, np.nan)
    if max(len(within), *map(len, within)) > 1:
        low, high = percentile_interval(hierarchical_bootstrap(within, shares, generator, draws))
    return Profiles(factors, found, low, high, sum(group.shape[0] * group.shape[1] for group in within))
