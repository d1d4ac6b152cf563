"""Two optimizers held against each other at equal seeds, where they start from the same weights on the same batches."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from suite.analysis.intervals import LEVEL, UNKNOWN, Estimate, proportion_interval, t_interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


def pairs(a: Mapping[int, float], b: Mapping[int, float]) -> NDArray[np.float64]:
    """The values of the seeds that both have, (n, 2), by seed."""
    return np.array([(a[seed], b[seed]) for seed in sorted(a.keys() & b.keys())], dtype=np.float64).reshape(-1, 2)


def difference(a: Mapping[int, float], b: Mapping[int, float], level: float = LEVEL) -> Estimate:
    """The mean of A − B over the seeds that both have, with the paired t interval.

    Pairs of which one is not finite, as of a run that diverged, have no difference and are left out.
    """
    found = pairs(a, b)
    differences = -np.diff(found[np.isfinite(found).all(1)], axis=1)[:, 0]
    mean = float(differences.mean()) if len(differences) else math.nan
    return Estimate(mean, t_interval(differences, level), len(differences))


def wins(a: Mapping[int, float], b: Mapping[int, float]) -> NDArray[np.float64]:
    """For each seed that both have, 1 where A is the lower, 0 where B is, ½ for a tie; ∞ is a run that diverged."""
    found = pairs(a, b)
    return np.where(found[:, 0] == found[:, 1], 0.5, found[:, 0] < found[:, 1])


def probability_lower(a: Mapping[int, float], b: Mapping[int, float], level: float = LEVEL) -> Estimate:
    """How probable it is that A ends lower than B at a seed not measured, a tie counting half.

    The interval is Clopper and Pearson's, which is never narrower than it says: three wins of three are [.29, 1]. There
    is none of a single pair.
    """
    won = wins(a, b)
    if len(won) < 2:
        return Estimate(float(won.mean()) if len(won) else math.nan, UNKNOWN, len(won))
    return Estimate(float(won.mean()), proportion_interval(float(won.sum()), len(won), level), len(won))


def probability_over_groups(groups: Sequence[NDArray[np.float64]], level: float = LEVEL) -> Estimate:
    """The mean over groups (data sets) of the share of `wins` in each, for groups that were not measured.

    The interval is Clopper and Pearson's with groups as the trials, whatever their seeds, which covers more than it
    says; a bootstrap over groups knows no doubt where all groups agree, and of few they often do.
    """
    if not groups:
        return Estimate(math.nan, UNKNOWN, 0)
    total = sum(float(group.mean()) for group in groups)
    interval = proportion_interval(round(total, 9), len(groups), level) if len(groups) > 1 else UNKNOWN
    return Estimate(total / len(groups), interval, len(groups))
