"""Speed-ups against hand-worked numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from suite.analysis.speedup import speedup
from suite.analysis.survival import Observation


def runs(*times: float, missed: tuple[int, ...] = ()) -> dict[int, Observation]:
    return {seed: Observation(time, reached=seed not in missed) for seed, time in enumerate(times)}


def test_the_geometric_mean_by_hand_and_its_interval_by_scipy() -> None:
    found = speedup(runs(10, 10, 20), runs(20, 80, 40))
    assert found.ratio == pytest.approx((2 * 8 * 2) ** (1 / 3))
    theirs = stats.ttest_1samp(np.log([2, 8, 2]), 0).confidence_interval()
    assert found.interval == pytest.approx((math.exp(theirs.low), math.exp(theirs.high)))
    assert found[2:] == ("exact", 3, 3)


def test_swapping_the_two_inverts_it() -> None:
    a, b = runs(10, 10, 20), runs(20, 80, 30)
    one, other = speedup(a, b), speedup(b, a)
    assert (1 / other.ratio, 1 / other.interval.high) == pytest.approx((one.ratio, one.interval.low))


def test_a_miss_makes_a_bound_without_interval() -> None:
    found = speedup(runs(10, 10), runs(20, 80, missed=(1,)))
    assert (found.ratio, found.kind, found.interval.known) == (pytest.approx(4), "at least", False)
    found = speedup(runs(20, 80, missed=(1,)), runs(10, 10))
    assert (found.ratio, found.kind) == (pytest.approx(1 / 4), "at most")


def test_where_both_miss_the_pair_says_nothing() -> None:
    found = speedup(runs(10, 50, missed=(1,)), runs(20, 70, missed=(1,)))
    assert (found.ratio, found.kind, found.pairs, found.of) == (2, "exact", 1, 2)
    assert not found.interval.known
    found = speedup(runs(10, 50, missed=(0, 1)), runs(20, 70, missed=(0, 1)))
    assert (found.kind, found.pairs, found.of) == ("unknown", 0, 2)
    assert math.isnan(found.ratio)


def test_bounds_of_both_directions_leave_it_unknown() -> None:
    assert speedup(runs(10, 50, missed=(0,)), runs(20, 70, missed=(1,))).kind == "unknown"


def test_only_equal_seeds_are_compared() -> None:
    found = speedup({0: Observation(1, reached=True)}, {1: Observation(9, reached=True)})
    assert (found.kind, found.of) == ("unknown", 0)


def test_zero_and_never() -> None:
    assert speedup(runs(0, 10), runs(0, 40)).ratio == pytest.approx(2)
    assert speedup(runs(10, 10), runs(20, math.inf, missed=(1,))).ratio == math.inf
    assert speedup(runs(20, math.inf, missed=(1,)), runs(10, 10)).ratio == 0


def test_coverage_of_the_ratio() -> None:
    generator = np.random.default_rng(0)
    hits = 0
    for _ in range(2000):
        a, b = np.exp(0.3 * generator.standard_normal((2, 3)))
        low, high = speedup(runs(*a), runs(*(2 * b))).interval
        hits += low <= 2 <= high
    assert hits / 2000 == pytest.approx(0.95, abs=0.015)
