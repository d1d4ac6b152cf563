"""Bands against hand-worked numbers."""

from __future__ import annotations

import numpy as np

from suite.analysis.curves import band

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


def test_nothing_to_draw_is_none() -> None:
    assert band([]) is None
    assert band([(X, X * np.nan)]) is None
    assert band([(X[:1], X[:1]), (X[2:], X[2:])]) is None
