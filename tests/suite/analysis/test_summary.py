"""Summaries against hand-worked numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.analysis.summary import first_reached, median_with_misses, spread


def test_spread_by_hand() -> None:
    assert spread([1.0, 2.0, 4.0, 5.0]) == pytest.approx((3.0, math.sqrt(10 / 3), 4))
    one = spread([7.0])
    assert one.mean == 7.0
    assert math.isnan(one.sd)
    assert math.isnan(spread([]).mean)


def test_a_target_is_reached_at_the_first_evaluation_at_or_below_it() -> None:
    loss = np.array([9.0, 5.0, 6.0, 4.0])
    assert first_reached(loss, 5.0) == 1
    assert first_reached(loss, 4.5) == 3
    assert first_reached(loss, 3.9) is None
    assert first_reached(np.array([np.nan] * 4), 5.0) is None


def test_a_target_is_not_reached_by_the_least_above_it() -> None:
    assert first_reached(np.array([5.04, np.nextafter(5.0, 6.0), 5.0]), 5.0) == 2


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3.0, 1.0, 2.0], 2.0),
        ([1.0, 2.0, 3.0, 4.0], 2.5),
        ([1.0, None, 2.0], 2.0),
        ([1.0, None, None], None),
        ([1.0, None], None),
        ([1.0, 2.0, None, None], None),
        ([None], None),
        ([], None),
    ],
)
def test_a_miss_is_later_than_any_number(values: list[float | None], expected: float | None) -> None:
    assert median_with_misses(values) == expected


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=9))
def test_without_misses_it_is_the_median(values: list[float]) -> None:
    assert median_with_misses(list(values)) == pytest.approx(float(np.median(values)))
