"""Performance profiles against a hand-worked table."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from suite.analysis.profiles import profiles, time_ratios

MISS = math.inf
FACTORS = np.array([1.0, 2.0, 4.0, 100.0])
TIMES = hnp.arrays(
    np.float64, st.tuples(st.integers(1, 4), st.integers(1, 2), st.just(3)), elements=st.floats(1, 50) | st.just(MISS)
)


def test_by_hand() -> None:
    """Four problems (two seeds × two targets) and three solvers; the last target of the last seed nobody solves."""
    times = np.array([[[10, 20, 40], [10, 10, MISS]], [[30, 10, 35], [MISS, MISS, MISS]]], dtype=float)
    found = profiles([times], FACTORS, np.random.default_rng(0))
    assert found.shares.tolist() == [[0.5, 0.5, 0.75, 0.75], [0.5, 0.75, 0.75, 0.75], [0, 0, 0.5, 0.5]]
    assert found.problems == 4


def test_ratios_of_a_time_of_zero() -> None:
    assert time_ratios(np.array([0.0, 5.0, 0.0, MISS])).tolist() == [1, MISS, 1, MISS]


@given(st.lists(TIMES, min_size=1, max_size=3), st.floats(0.1, 10))
def test_profiles_rise_within_their_bands_and_do_not_depend_on_units(groups: list[np.ndarray], scale: float) -> None:
    found = profiles(groups, FACTORS, np.random.default_rng(0), draws=40)
    assert (np.diff(found.shares) >= 0).all()
    assert ((found.shares >= 0) & (found.shares <= 1)).all()
    if len(groups) > 1 or len(groups[0]) > 1:
        assert (found.low <= found.high).all()
        assert (np.diff(found.low) >= 0).all()
    else:
        assert np.isnan(found.low).all()
    other = profiles([scale * group[::-1] for group in groups], FACTORS * (1 + 1e-9), np.random.default_rng(0), draws=2)
    assert (other.shares >= found.shares - 1e-12).all(), "neither on the order of seeds"


def test_problems_weigh_alike_however_many_a_data_set_has() -> None:
    easy, hard = np.array([[[1.0, 9.0]]]), np.array([[[9.0, 1.0]], [[9.0, 1.0]], [[9.0, 1.0]]])
    assert profiles([easy, hard], FACTORS, np.random.default_rng(0)).shares[:, 0].tolist() == [0.25, 0.75]


def test_the_band_of_many_seeds_covers_and_of_few_does_not() -> None:
    generator = np.random.default_rng(0)
    covered = {}
    for seeds in (3, 20):
        hits = 0
        for _ in range(150):
            times = generator.exponential(size=(seeds, 1, 2))
            found = profiles([times], np.array([1.0]), generator, draws=150)
            hits += found.low[0, 0] <= 0.5 <= found.high[0, 0]
        covered[seeds] = hits / 150
    assert covered[20] == pytest.approx(0.95, abs=0.05)
    assert covered[3] == pytest.approx(0.75, abs=0.1)
