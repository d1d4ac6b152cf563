"""Restricted means against hand-worked curves and SciPy's Kaplan–Meier estimate."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from suite.analysis.survival import Observation, horizon, kaplan_meier, restricted_mean

RUNS = st.lists(st.builds(Observation, st.integers(0, 50).map(float), st.booleans()), min_size=1, max_size=10)


def hits(*times: float) -> list[Observation]:
    return [Observation(time, reached=True) for time in times]


def misses(*times: float) -> list[Observation]:
    return [Observation(time, reached=False) for time in times]


def test_by_hand() -> None:
    runs = [*hits(2, 6), *misses(4, 8)]  # at risk: 4 at 2, 2 at 6
    assert kaplan_meier(runs) == [(2, 0.75), (6, 0.375)]
    assert restricted_mean(runs, 8) == pytest.approx(2 + 0.75 * 4 + 0.375 * 2)
    assert restricted_mean(runs, 4) == pytest.approx(2 + 0.75 * 2)
    assert restricted_mean(misses(5, 5), 5) == 5
    assert math.isnan(restricted_mean([], 5))


@given(RUNS)
def test_the_curve_is_scipys(runs: list[Observation]) -> None:
    data = stats.CensoredData(
        uncensored=[o.time for o in runs if o.reached], right=[o.time for o in runs if not o.reached]
    )
    theirs = stats.ecdf(data).sf
    for time, share in kaplan_meier(runs):
        assert share == pytest.approx(float(theirs.evaluate(time)), abs=1e-12)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=9))
def test_without_misses_it_is_the_mean(times: list[float]) -> None:
    assert restricted_mean(hits(*times), horizon([hits(*times)])) == pytest.approx(np.mean(times))


@given(RUNS, st.floats(0.1, 100), st.floats(1, 50), st.randoms())
def test_it_scales_with_time_whatever_the_order(
    runs: list[Observation],
    scale: float,
    until: float,
    random,  # type: ignore[no-untyped-def]
) -> None:
    scaled = [Observation(scale * o.time, o.reached) for o in random.sample(runs, len(runs))]
    assert restricted_mean(scaled, scale * until) == pytest.approx(scale * restricted_mean(runs, until))
    assert restricted_mean(runs, until) <= until + 1e-9


def test_the_horizon_is_where_the_first_curve_is_known_no_more() -> None:
    assert horizon([[*hits(20), *misses(60)], misses(50, 40), hits(5, 7)]) == 50
    assert horizon([hits(5, 7), hits(90)]) == 90, "nothing is restricted"
    assert horizon([[*misses(30), *hits(50)], misses(80)]) == 80, "its curve ends with its last hit"
    assert horizon([[*hits(50), *misses(50)], hits(90)]) == 50
    assert math.isnan(horizon([[], misses(math.inf)]))


def test_a_run_that_can_reach_it_no_more_keeps_the_curve_up() -> None:
    runs = [*hits(10), *misses(math.inf)]
    assert horizon([runs, misses(40)]) == 40
    assert restricted_mean(runs, 40) == pytest.approx(10 + 0.5 * 30)


def test_censoring_is_accounted_for() -> None:
    """Exponential times of mean 1, restricted to 1, have the mean 1 − 1/e; runs that end earlier add no bias."""
    generator = np.random.default_rng(0)
    times, cuts = generator.exponential(size=4000), generator.uniform(0, 2, 4000)
    runs = [Observation(min(t, c), reached=bool(t <= c)) for t, c in zip(times, cuts, strict=True)]
    assert restricted_mean(runs, 1) == pytest.approx(1 - math.exp(-1), abs=0.02)
