"""Ranks that are shared where no difference is shown, and ranks within a seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def shared_ranks(better: NDArray[np.bool_]) -> list[int]:
    """Rank of each: 1 + the number of those that are better, at first or at second hand.

    Args:
        better: (n, n), whether row i is shown to be better than column j, as when the interval of their difference
            excludes 0. It need not be transitive, the ranks are: where A is better than B and B than C, A is taken
            to be better than C, so that whoever is shown better has the better rank.

    """
    reach = better.astype(bool)
    for k in range(len(reach)):  # Warshall's transitive closure
        reach = reach | (reach[:, k : k + 1] & reach[k : k + 1])
    np.fill_diagonal(reach, False)
    return [int(count) for count in 1 + reach.sum(axis=0)]


def ranks_within(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks along the last axis, 1 for the lowest value, the mean of their places for equal ones; ∞ is last."""
    below = (values[..., None, :] < values[..., :, None]).sum(-1)
    equal = (values[..., None, :] == values[..., :, None]).sum(-1)
    return np.asarray(below + (equal + 1) / 2)
