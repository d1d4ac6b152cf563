"""Shared ranks and ranks within a seed, against hand-worked tables."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from suite.analysis.paired import difference
from suite.analysis.ranking import ranks_within, shared_ranks, shown_lower


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


@given(
    st.lists(
        st.lists(st.floats(1, 2) | st.sampled_from([1.0, 1.5, math.nan, math.inf]), min_size=4, max_size=4),
        min_size=1,
        max_size=5,
    )
)
def test_what_is_shown_is_what_paired_intervals_show(rows: list[list[float]]) -> None:
    shown = shown_lower(np.array(rows))
    for i, a in enumerate(rows):
        for j, b in enumerate(rows):
            low, high = difference(dict(enumerate(a)), dict(enumerate(b))).interval
            if math.isnan(high) or (abs(high) > 1e-9 and high - low > 1e-9):  # not by rounding alone
                assert shown[i, j] == (high < 0)


def test_a_clear_order_is_shown_and_two_alike_are_not() -> None:
    values = np.array([[1.0, 2.0, 3.0], [2.0, 3.1, 4.2], [1.9, 3.2, 4.2], [0.0, 9.0, np.inf]])
    shown = shown_lower(values)
    assert shown[0].tolist() == [False, True, True, False]
    assert not shown[1:].any()
    assert shown_lower(np.array([[1.0], [2.0]])).tolist() == [[False, False], [False, False]]
