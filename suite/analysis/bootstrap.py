"""The hierarchical bootstrap: data sets are drawn first, then seeds within each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from suite.analysis.intervals import LEVEL

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    Groups = Sequence[NDArray[np.float64]]


def hierarchical_bootstrap(
    groups: Groups,
    statistic: Callable[[Groups], ArrayLike],
    generator: np.random.Generator,
    draws: int = 1000,
) -> NDArray[np.float64]:
    """What a statistic would be in repetitions of the whole experiment, (draws, …).

    Args:
        groups: for each data set an array whose first axis is the seeds. Whatever belongs to a seed, as the two
            losses of a pair or the times to several targets, lies along the other axes and stays together.
        statistic: of such groups; a number or an array.
        generator: of the draws. As many data sets as there are are drawn with replacement, and of each one drawn as
            many seeds as it has; where there is but one data set, its seeds alone.
        draws: number of repetitions.

    """
    samples = []
    for _ in range(draws):
        chosen = generator.integers(len(groups), size=len(groups)) if len(groups) > 1 else [0]
        drawn = [groups[i][generator.integers(len(groups[i]), size=len(groups[i]))] for i in chosen]
        samples.append(np.asarray(statistic(drawn), dtype=np.float64))
    return np.array(samples)


def percentile_interval(
    samples: NDArray[np.float64], level: float = LEVEL
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The middle `level` of bootstrap samples (draws, …), below and above.

    What it covers depends on the number of groups more than on the level: of the mean of normal values, at 95 %, one
    group of 2 and 3 seeds .5 and .76, 2 and 3 groups of three seeds, where groups vary as much as seeds, .73 and .85.
    So means have `t_interval` and `mean_over_groups`, which cover what they say. This one is for what is no mean.
    """
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high
