"""Time to a target where some runs end without it: the restricted mean of the Kaplan–Meier curve."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Observation(NamedTuple):
    """How long a run took to its target or, where it missed it, for how long it was looked for."""

    time: float  # iterations or seconds; ∞ where a run can reach it no more, as one that diverged
    reached: bool


def kaplan_meier(observations: Sequence[Observation]) -> list[tuple[float, float]]:
    """The times at which runs reach the target, and the share S that has not just after each (Kaplan & Meier 1958).

    S(t) = Π (1 − d_i/n_i) over hits up to t: d_i of the n_i runs that were still under way reach it at t_i. A run
    that was looked at no longer counts among the n_i as long as it was.
    """
    curve, share = [], 1.0
    for time in sorted({o.time for o in observations if o.reached}):
        hits = sum(o.reached and o.time == time for o in observations)
        share *= 1 - hits / sum(o.time >= time for o in observations)
        curve.append((time, share))
    return curve


def restricted_mean(observations: Sequence[Observation], horizon: float) -> float:
    """The mean of min(time to the target, τ), ∫₀^τ S(t) dt of the Kaplan–Meier curve S; NaN without a run.

    τ itself where no run reaches the target: then a lower bound. Compare only means of one and the same τ, that of
    `horizon`.
    """
    if not observations:
        return math.nan
    area, before, share = 0.0, 0.0, 1.0
    for time, left in kaplan_meier(observations):
        if time >= horizon:
            break
        area, before, share = area + share * (time - before), time, left
    return area + share * (horizon - before)


def horizon(methods: Iterable[Sequence[Observation]]) -> float:
    """The τ up to which the curves of all methods are known: the smallest of their largest observation times.

    A method whose last observation is a hit sets no bound, since its curve has come to its end; where that is so of
    all methods, τ is the last hit of all and restricts nothing. NaN where no method has a finite observation.
    """
    bounds: list[float] = []
    hits: list[float] = []
    for observations in methods:
        finite = [o for o in observations if math.isfinite(o.time)]
        last = max(finite, key=lambda o: (o.time, not o.reached), default=None)
        if last is not None:
            (hits if last.reached else bounds).append(last.time)
    return min(bounds) if bounds else max(hits, default=math.nan)
