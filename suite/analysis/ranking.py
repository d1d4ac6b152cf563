"""Ranks that are shared where no difference is shown, and ranks within a seed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from suite.analysis.intervals import LEVEL, t_quantile

if TYPE_CHECKING:
    from numpy.typing import NDArray


def shown_lower(values: NDArray[np.float64], level: float = LEVEL) -> NDArray[np.bool_]:
    """Whether row i is shown to lie below row j: the paired t interval of their difference lies below 0, (n, n).

    Args:
        values: (n, seeds). Pairs of which one is not finite are left out, as by `suite.analysis.paired.difference`.
        level: of each interval by itself; nothing is corrected for their number.

    """
    finite = np.where(np.isfinite(values), values, np.nan)
    quantiles = np.array([math.inf, math.inf, *(t_quantile((1 + level) / 2, n) for n in range(1, values.shape[-1]))])
    shown = np.zeros((len(values), len(values)), dtype=bool)
    for i, row in enumerate(finite):
        differences = row - finite
        paired = np.isfinite(differences)
        n = paired.sum(1)
        mean = np.where(paired, differences, 0).sum(1) / np.maximum(n, 1)
        squares = (np.where(paired, differences - mean[:, None], 0) ** 2).sum(1)
        error = np.sqrt(squares / np.maximum(n - 1, 1) / np.maximum(n, 1))
        lowest, highest = np.where(paired, differences, np.inf).min(1), np.where(paired, differences, -np.inf).max(1)
        some = (n > 1) & (lowest < highest)
        shown[i, some] = (mean + quantiles[n] * np.where(some, error, 1))[some] < 0
    return shown


def shared_ranks(better: NDArray[np.bool_]) -> list[int]:
    """Rank of each: 1 + the number of those that are better, at first or at second hand.

    Args:
        better: (n, n), whether row i is shown to be better than column j, as when the interval of their difference
            excludes 0. It need not be transitive, the ranks are: where A is better than B and B than C, A is taken
            to be better than C, so that whoever is shown better has the better rank.

    """
    reach = better.astype(bool)
    for k in np.flatnonzero(reach.any(0) & reach.any(1)):  # Warshall's transitive closure
        reach = reach | (reach[:, k : k + 1] & reach[k : k + 1])
    np.fill_diagonal(reach, False)
    return [int(count) for count in 1 + reach.sum(axis=0)]


def ranks_within(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks along the last axis, 1 for the lowest value, the mean of their places for equal ones; ∞ is last."""
    below = (values[..., None, :] < values[..., :, None]).sum(-1)
    equal = (values[..., None, :] == values[..., :, None]).sum(-1)
    return np.asarray(below + (equal + 1) / 2)
