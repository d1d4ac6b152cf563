"""How many times sooner one optimizer reaches a target than another."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from suite.analysis.intervals import LEVEL, UNKNOWN, Interval, t_interval

if TYPE_CHECKING:
    from collections.abc import Mapping

    from suite.analysis.survival import Observation

Kind = Literal["exact", "at least", "at most", "unknown"]


class Speedup(NamedTuple):
    """The geometric mean over pairs of (B's time)/(A's time): above 1, A is the sooner."""

    ratio: float
    interval: Interval
    kind: Kind
    pairs: int  # of equal seed, of which at least one reaches the target
    of: int


def speedup(a: Mapping[int, Observation], b: Mapping[int, Observation], level: float = LEVEL) -> Speedup:
    """The speed-up of A over B to a target, over the seeds that both have.

    The interval is the paired t interval of the logarithms, and so of a geometric mean. A pair of which one misses
    gives a bound, not a number: the ratio to the time for which that one was looked at. With it the mean is a bound
    as well, and has no interval; with bounds of both directions it is unknown. A pair of which both miss says
    nothing and is not in the mean, but counted in `of`.
    """
    seeds = sorted(a.keys() & b.keys())
    found = [(a[seed], b[seed]) for seed in seeds if a[seed].reached or b[seed].reached]
    lower = any(not theirs.reached for _, theirs in found)
    upper = any(not ours.reached for ours, _ in found)
    if not found or (lower and upper):
        return Speedup(math.nan, UNKNOWN, "unknown", len(found), len(seeds))
    logs = np.array([_log_ratio(theirs.time, ours.time) for ours, theirs in found])
    ratio = _exp(float(logs.mean())) if len({*logs[np.isinf(logs)]}) < 2 else math.nan
    if lower or upper:
        return Speedup(ratio, UNKNOWN, "at least" if lower else "at most", len(found), len(seeds))
    low, high = t_interval(logs, level)
    return Speedup(ratio, Interval(_exp(low), _exp(high)), "exact", len(found), len(seeds))


def _log_ratio(a: float, b: float) -> float:
    """log(a/b), where both may be zero (a target that the initial weights reach) or infinite."""
    if a == b:
        return 0.0
    if b == 0 or math.isinf(a):
        return math.inf
    return -math.inf if a == 0 or math.isinf(b) else math.log(a / b)


def _exp(value: float) -> float:
    """The exponential, ∞ where it is beyond every float."""
    return math.exp(value) if not value > 700 else math.inf
