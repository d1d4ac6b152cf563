"""Paired differences and probabilities against hand-worked numbers and SciPy's paired t test."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from suite.analysis.paired import difference, pairs, probability_lower, probability_over_groups, wins

A = {0: 15.0, 1: 16.0, 2: 15.5, 7: 99.0}
B = {2: 17.5, 0: 17.0, 1: 19.0, 5: 1.0}
LOSSES = st.dictionaries(st.integers(0, 9), st.floats(1, 100) | st.just(math.inf), max_size=8)


def test_only_seeds_of_both_are_paired() -> None:
    assert pairs(A, B).tolist() == [[15, 17], [16, 19], [15.5, 17.5]]
    assert pairs(A, {}).shape == (0, 2)


def test_the_difference_is_scipys_paired_t() -> None:
    found = difference(A, B)
    theirs = stats.ttest_rel([15, 16, 15.5], [17, 19, 17.5]).confidence_interval()
    assert found.value == pytest.approx(-7 / 3)
    assert found.interval == pytest.approx((theirs.low, theirs.high))
    assert found.n == 3


def test_one_pair_has_a_difference_and_no_interval() -> None:
    found = difference({0: 1.0}, {0: 3.0, 1: 2.0})
    assert (found.value, found.n, found.interval.known) == (-2, 1, False)
    assert math.isnan(difference({}, {}).value)
    assert not probability_lower({0: 1.0}, {0: 3.0}).interval.known


def test_a_diverged_run_loses_and_has_no_difference() -> None:
    a, b = {0: 1.0, 1: math.inf, 2: math.inf, 3: 2.0}, {0: 2.0, 1: 5.0, 2: math.inf, 3: 2.0}
    assert wins(a, b).tolist() == [1, 0, 0.5, 0.5]
    assert probability_lower(a, b).value == 0.5
    assert (difference(a, b).value, difference(a, b).n) == (-0.5, 2)


def test_three_wins_of_three_prove_little() -> None:
    found = probability_lower(A, B)
    assert found.value == 1
    assert found.interval == pytest.approx((0.2924, 1), abs=1e-4)


@given(LOSSES, LOSSES)
def test_swapping_the_two_mirrors_everything(a: dict[int, float], b: dict[int, float]) -> None:
    one, other = difference(a, b), difference(b, a)
    assert (one.value, *one.interval) == pytest.approx(
        (-other.value, -other.interval.high, -other.interval.low), nan_ok=True
    )
    p, q = probability_lower(a, b), probability_lower(b, a)
    assert p.value == pytest.approx(1 - q.value, nan_ok=True)
    assert p.interval == pytest.approx((1 - q.interval.high, 1 - q.interval.low), nan_ok=True)


def test_coverage_of_paired_differences_where_seeds_matter_more_than_methods() -> None:
    generator = np.random.default_rng(0)
    hits = 0
    for _ in range(2000):
        seed, own = 10 * generator.standard_normal(3), generator.standard_normal((2, 3))
        a, b = (dict(enumerate(seed + shift + noise)) for shift, noise in zip((0.5, 0), own, strict=True))
        low, high = difference(a, b).interval
        hits += low <= 0.5 <= high
    assert hits / 2000 == pytest.approx(0.95, abs=0.015)


def test_probabilities_over_groups_by_hand() -> None:
    found = probability_over_groups([np.array([1, 0, 0]), np.array([1, 1, 0.5]), np.array([1.0])])
    assert (found.value, found.n) == (pytest.approx((1 / 3 + 5 / 6 + 1) / 3), 3)
    theirs = stats.binomtest(2, 3).proportion_ci(0.95, "exact"), stats.binomtest(3, 3).proportion_ci(0.95, "exact")
    assert found.interval == pytest.approx((theirs[0].low, theirs[1].high))
    assert not probability_over_groups([np.array([1.0, 1.0])]).interval.known
    assert math.isnan(probability_over_groups([]).value)


@pytest.mark.parametrize(("groups", "shape"), [(2, (9, 0.5)), (3, (4, 1)), (8, (0.5, 0.5))])
def test_probabilities_over_groups_are_covered_at_least(groups: int, shape: tuple[float, float]) -> None:
    generator = np.random.default_rng(1)
    expected, hits = shape[0] / sum(shape), 0
    for _ in range(400):
        won = generator.random((groups, 3)) < generator.beta(*shape, size=(groups, 1))
        low, high = probability_over_groups(list(won.astype(float))).interval
        hits += low <= expected <= high
    assert hits / 400 >= 0.95
