"""Shared ranks and ranks within a seed, against hand-worked tables."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from suite.analysis.ranking import ranks_within, shared_ranks


def relation(n: int, *better: tuple[int, int]) -> np.ndarray:
    found = np.zeros((n, n), bool)
    for i, j in better:
        found[i, j] = True
    return found


@pytest.mark.parametrize(
    ("better", "expected"),
    [
        ([], [1, 1, 1]),
        ([(0, 2), (1, 2)], [1, 1, 3]),
        ([(0, 1), (0, 2)], [1, 2, 2]),
        ([(0, 2)], [1, 1, 2]),
        ([(0, 1), (1, 2)], [1, 2, 3]),  # 0 beats 2 at second hand
    ],
)
def test_by_hand(better: list[tuple[int, int]], expected: list[int]) -> None:
    assert shared_ranks(relation(3, *better)) == expected


@given(st.integers(1, 7), st.data())
def test_who_is_shown_better_ranks_better(n: int, data: st.DataObject) -> None:
    pairs = [(i, j) for i in range(n) for j in range(i + 1, n)]
    chosen = data.draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    ranks = shared_ranks(relation(n, *chosen))
    assert all(ranks[i] < ranks[j] for i, j in chosen)
    assert min(ranks) == 1
    order = data.draw(st.permutations(range(n)))
    moved = relation(n, *((order[i], order[j]) for i, j in chosen))
    assert [shared_ranks(moved)[order[i]] for i in range(n)] == ranks, "whatever the order"


@given(st.lists(st.sampled_from([1.0, 2.0, 3.5, math.inf]), min_size=1, max_size=8))
def test_ranks_within_a_seed_are_scipys(values: list[float]) -> None:
    assert ranks_within(np.array([values, values]))[1].tolist() == stats.rankdata(values).tolist()
