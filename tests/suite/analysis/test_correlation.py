"""Rank correlations against SciPy's, and what their intervals cover."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from suite.analysis.correlation import correlation_interval, rank_correlation, smallest_shown, spearman


@pytest.mark.parametrize("n", [2, 3, 7, 40])
def test_spearman_is_scipys_with_ties_too(n: int) -> None:
    generator = np.random.default_rng(n)
    x, y = generator.normal(size=n), generator.normal(size=n)
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)
    x, y = generator.integers(0, 4, size=40).astype(float), generator.integers(0, 3, size=40).astype(float)
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)


def test_a_run_that_diverged_is_last_and_what_is_unknown_is_left_out() -> None:
    x, y = np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.array([2.0, 1.0, math.inf, math.nan, math.inf])
    kept = [0, 1, 2, 4]
    expected = stats.spearmanr(x[kept], np.array([2.0, 1.0, 9.0, 9.0])).statistic
    assert spearman(x, y) == pytest.approx(expected)
    assert math.isnan(spearman(np.ones(3), np.arange(3.0)))
    assert math.isnan(spearman(np.array([1.0]), np.array([1.0])))


def test_levels_of_groups_and_blocks_do_not_matter() -> None:
    generator = np.random.default_rng(0)
    groups = [[(generator.normal(size=6), generator.normal(size=6)) for _ in range(blocks)] for blocks in (2, 3)]
    each = [[stats.spearmanr(x, y).statistic for x, y in blocks] for blocks in groups]
    found = rank_correlation(groups)
    assert found.value == pytest.approx(np.mean([np.mean(blocks) for blocks in each]))
    assert found.n == 6
    moved = [
        [(100.0 * g + b + x, 7.0 * b - g + y) for b, (x, y) in enumerate(blocks)] for g, blocks in enumerate(groups)
    ]
    assert rank_correlation(moved) == found


def test_the_interval_is_bonett_and_wrights_and_a_perfect_order_has_one() -> None:
    # Of ρ = .6 and n = 12: artanh .6 ± 1.95996 · √(1.18/9) = .69315 ± .70969
    assert correlation_interval(0.6, 12) == pytest.approx((-0.01654, 0.88598), abs=1e-4)
    low, high = correlation_interval(1.0, 5)
    assert 0 < low < 1 - 6 / 120 < high < 1
    assert correlation_interval(-1.0, 5) == pytest.approx((-high, -low))
    assert not correlation_interval(1.0, 3).known


@pytest.mark.parametrize("n", [4, 5, 6, 10, 30])
def test_the_smallest_correlation_that_is_shown(n: int) -> None:
    least = smallest_shown(n)
    if n == 4:
        assert least is None, "not even a perfect order of four"
        assert correlation_interval(1.0, 4).low < 0
    else:
        assert least is not None
        assert correlation_interval(least, n).low > 0 >= correlation_interval(least - 0.01, n).low


@pytest.mark.parametrize("items", [4, 7, 10])
@pytest.mark.parametrize("r", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("groups", [1, 3])
def test_what_it_covers(items: int, r: float, groups: int) -> None:
    """Normal values of correlation r, half of whose variance an item has in common over groups and blocks."""
    generator = np.random.default_rng([items, int(10 * r), groups])
    truth = 6 / math.pi * math.asin(r / 2)

    def common(blocks: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        return (generator.normal(size=(1, items)) + generator.normal(size=(blocks, items))) / math.sqrt(2)

    covered = 0
    for _ in range(300):
        speed = common(groups)
        errors = [[r * y + math.sqrt(1 - r * r) * e for e in common(2)] for y in speed]
        found = rank_correlation([[(x, y) for x in blocks] for blocks, y in zip(errors, speed, strict=True)])
        covered += found.interval.low <= truth <= found.interval.high
    assert covered / 300 > 0.93
