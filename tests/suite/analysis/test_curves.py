"""Bands against hand-worked numbers."""

from __future__ import annotations

import numpy as np
import pytest

from suite.analysis.curves import Band, band, thinned

X = np.array([0.0, 10.0, 20.0])


def test_median_and_range_over_seeds() -> None:
    found = band([(X, X), (X, 3 * X), (X, 2 * X)], points=5)
    assert found is not None
    assert list(found.x) == [0, 5, 10, 15, 20]
    assert list(found.median) == [0, 10, 20, 30, 40]
    assert list(found.low) == [0, 5, 10, 15, 20]
    assert list(found.high) == [0, 15, 30, 45, 60]
    assert found.seeds == 3


def test_it_ends_with_the_first_seed_that_ends() -> None:
    found = band([(X, X), (X[:2], X[:2])])
    assert found is not None
    assert (found.x[0], found.x[-1]) == (0, 10)


def test_what_is_not_finite_is_no_point_of_a_curve() -> None:
    found = band([(X, np.array([4.0, np.nan, 8.0])), (X, np.array([4.0, 6.0, np.inf]))], points=3)
    assert found is not None
    assert list(found.x) == [0, 5, 10]
    assert list(found.high) == [4, 5, 6]


def test_without_a_number_of_points_every_place_of_any_seed_is_one() -> None:
    found = band([(X, np.array([0.0, 9.0, 0.0])), (X[:2] + 4, np.array([2.0, 2.0]))], points=None)
    assert found is not None
    assert list(found.x) == [4, 10, 14], "as far as both go"
    assert list(found.high) == pytest.approx([3.6, 9, 5.4]), "the peak is met"
    assert list(found.low) == [2, 2, 2]


def test_thinning_keeps_extremes_and_averages_medians() -> None:
    values = np.array([5.0, 1.0, 3.0, 4.0, 8.0, 0.0, 2.0])
    found = thinned(Band(np.arange(7.0), values, values - 1, values + 1, 3), 3)
    assert list(found.x) == [1, 3, 6], "the last place of each bin"
    assert list(found.median) == pytest.approx([3, 3.5, 10 / 3])
    assert list(found.low) == [0, 2, -1]
    assert list(found.high) == [6, 5, 9]
    assert found.seeds == 3
    assert thinned(found, 3) is found


def test_nothing_to_draw_is_none() -> None:
    assert band([]) is None
    assert band([(X, X * np.nan)]) is None
    assert band([(X[:1], X[:1]), (X[2:], X[2:])]) is None
