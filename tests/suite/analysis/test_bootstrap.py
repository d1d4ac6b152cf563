"""The hierarchical bootstrap: what it draws, and what its percentiles cover."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from suite.analysis.bootstrap import hierarchical_bootstrap, percentile_interval


def test_of_one_group_it_is_scipys_bootstrap() -> None:
    values = np.array([3.0, 1.0, 4.0, 1.5, 9.0, 2.6])
    ours = percentile_interval(
        hierarchical_bootstrap([values], lambda groups: np.median(groups[0]), np.random.default_rng(0), 4000)
    )
    theirs = stats.bootstrap(
        (values,), np.median, method="percentile", n_resamples=4000, random_state=np.random.default_rng(1)
    ).confidence_interval
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.1)


def test_groups_are_drawn_first_and_pairs_stay_together() -> None:
    groups = [np.array([[1.0, 10], [2, 20]]), np.array([[5.0, 50], [6, 60], [7, 70]])]

    def seen(drawn: list[np.ndarray]) -> list[float]:
        assert len(drawn) == 2
        for group in drawn:
            assert (group[:, 1] == 10 * group[:, 0]).all()
            assert set(group[:, 0]) <= ({1, 2} if len(group) == 2 else {5, 6, 7})
        return [len(drawn[0]), drawn[0][0, 0]]

    samples = hierarchical_bootstrap(groups, seen, np.random.default_rng(0), 300)  # type: ignore[arg-type]
    assert samples.shape == (300, 2)
    assert set(samples[:, 0]) == {2, 3}, "either group may come first"


def test_the_generator_alone_decides() -> None:
    groups = [np.arange(5.0), np.arange(3.0)]
    one, two = (
        hierarchical_bootstrap(groups, lambda g: g[0].mean() + g[1].mean(), np.random.default_rng(7), 50)
        for _ in range(2)
    )
    assert (one == two).all()


@pytest.mark.parametrize(("groups", "seeds", "expected"), [(1, 2, 0.5), (1, 3, 0.76), (2, 3, 0.73), (3, 3, 0.85)])
def test_few_groups_are_covered_less_than_the_level_says(groups: int, seeds: int, expected: float) -> None:
    generator = np.random.default_rng(3)
    hits = 0
    for _ in range(150):
        between = generator.standard_normal((groups, 1)) if groups > 1 else 0
        values = list(between + generator.standard_normal((groups, seeds)))
        low, high = percentile_interval(
            hierarchical_bootstrap(values, lambda drawn: sum(g.mean() for g in drawn) / len(drawn), generator, 200)
        )
        hits += low <= 0 <= high
    assert hits / 150 == pytest.approx(expected, abs=0.1)
