"""Intervals against SciPy's, and what they cover in simulations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from suite.analysis.intervals import UNKNOWN, mean_over_groups, proportion_interval, t_interval, t_quantile

FLOATS = st.floats(-1e3, 1e3)


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 9, 30, 101])
@pytest.mark.parametrize("probability", [0.6, 0.975, 0.995])
def test_quantiles_are_scipys(degrees: int, probability: float) -> None:
    assert t_quantile(probability, degrees) == pytest.approx(stats.t.ppf(probability, degrees), rel=1e-9)


def test_t_interval_by_hand_and_by_scipy() -> None:
    assert t_interval([1.0, 3.0]) == pytest.approx((2 - 12.7062, 2 + 12.7062), abs=1e-4)
    values = np.array([3.1, 2.7, 3.9, 3.3])
    theirs = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert t_interval(values, 0.9) == pytest.approx((theirs.low, theirs.high))


@pytest.mark.parametrize("values", [[], [1.0], [2.0, 2.0, 2.0], [1.0, math.inf], [1.0, math.nan]])
def test_what_tells_no_spread_has_no_interval(values: list[float]) -> None:
    assert not t_interval(values).known


@pytest.mark.parametrize(("k", "n"), [(0, 3), (3, 3), (2, 3), (1, 2), (7, 20), (500, 1000)])
def test_proportions_are_scipys(k: int, n: int) -> None:
    theirs = stats.binomtest(k, n).proportion_ci(0.95, "exact")
    assert proportion_interval(k, n) == pytest.approx((theirs.low, theirs.high), abs=1e-8)


def test_half_a_success_widens_both_ends() -> None:
    assert proportion_interval(1.5, 3) == (proportion_interval(1, 3).low, proportion_interval(2, 3).high)
    assert proportion_interval(0, 0) is UNKNOWN


@given(st.lists(FLOATS, min_size=2, max_size=8), st.floats(0.1, 10), FLOATS, st.randoms())
def test_t_intervals_scale_shift_and_ignore_order(values: list[float], scale: float, shift: float, random) -> None:  # type: ignore[no-untyped-def]
    if np.std(values) < 1e-6:
        return
    low, high = t_interval(values)
    shuffled = random.sample(values, len(values))
    assert t_interval([scale * v + shift for v in shuffled]) == pytest.approx(
        (scale * low + shift, scale * high + shift), rel=1e-6, abs=1e-6
    )


@pytest.mark.parametrize(("n", "skewed"), [(2, 0.91), (3, 0.88), (5, 0.87), (10, 0.90)])
def test_t_intervals_cover_what_they_say(n: int, skewed: float) -> None:
    generator = np.random.default_rng(0)
    normal = [t_interval(row) for row in generator.standard_normal((4000, n))]
    assert np.mean([low <= 0 <= high for low, high in normal]) == pytest.approx(0.95, abs=0.012)
    exponential = [t_interval(row) for row in generator.exponential(size=(4000, n))]
    assert np.mean([low <= 1 <= high for low, high in exponential]) == pytest.approx(skewed, abs=0.015)


@pytest.mark.parametrize("groups", [2, 3, 5, 8, 15])
@pytest.mark.parametrize("deviation", [0.0, 1.0])
def test_means_over_groups_cover_what_they_say(groups: int, deviation: float) -> None:
    generator = np.random.default_rng(1)
    hits = heap = 0
    for _ in range(1500):
        values = deviation * generator.standard_normal((groups, 1)) + generator.standard_normal((groups, 3))
        low, high = mean_over_groups(list(values)).interval
        hits += low <= 0 <= high
        low, high = t_interval(values.ravel())
        heap += low <= 0 <= high
    assert hits / 1500 == pytest.approx(0.95, abs=0.02)
    if deviation:
        assert heap / 1500 < 0.87, "one heap of all values does not"


def test_of_one_group_the_values_are_the_units() -> None:
    values = np.array([1.0, 2.0, 4.0])
    assert mean_over_groups([values]) == (pytest.approx(7 / 3), t_interval(values), 3)
    two = mean_over_groups([values, values + 1])
    assert (two.value, two.n) == (pytest.approx(7 / 3 + 0.5), 2)
    assert mean_over_groups([]).n == 0


@pytest.mark.parametrize("n", [3, 5, 10])
def test_proportions_are_covered_at_least(n: int) -> None:
    generator = np.random.default_rng(2)
    for p in (0.1, 0.5, 0.95):
        hits = [low <= p <= high for k in generator.binomial(n, p, 1000) for low, high in [proportion_interval(k, n)]]
        assert np.mean(hits) >= 0.95
