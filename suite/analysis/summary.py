"""Summaries over seeds, and targets; a miss stays a miss."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class Spread(NamedTuple):
    """Mean and sample standard deviation over seeds."""

    mean: float
    sd: float  # ddof = 1; NaN for fewer than two values
    n: int


def spread(values: Sequence[float]) -> Spread:
    """Mean, sample standard deviation and number of `values`; NaN where there is nothing to average."""
    array = np.asarray(values, dtype=np.float64)
    if not len(array):
        return Spread(math.nan, math.nan, 0)
    return Spread(float(array.mean()), float(array.std(ddof=1)) if len(array) > 1 else math.nan, len(array))


def first_reached(loss: NDArray[np.float64], target: float) -> int | None:
    """The place of the first evaluation whose loss is at or below the target; None is a miss.

    Targets are held against the evaluation loss, never against a batch's: one lucky batch reaches nothing.
    """
    hits = np.flatnonzero(loss <= target)  # NaN compares false
    return int(hits[0]) if len(hits) else None


def median_with_misses(values: Sequence[float | None]) -> float | None:
    """The median over seeds where a miss is later than any number; None where the median is a miss.

    With an even number of seeds the median is the mean of the middle two, and a miss if either is.
    """
    if not values:
        return None
    ordered = sorted(math.inf if value is None else value for value in values)
    half = len(ordered) // 2
    median = ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
    return None if math.isinf(median) else median
