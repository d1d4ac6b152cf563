"""When something is due: every so many iterations, or on a schedule."""

from __future__ import annotations

import pytest

from kfsvd.options.intervals import Interval


def due(value: int | str, until: int) -> list[int]:
    interval = Interval.of(value)
    return [iteration for iteration in range(until) if interval.due(iteration)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]),
        (5, [0, 5, 10, 15]),
        ("5", [0, 5, 10, 15]),
        ("5, 2 from 8", [0, 5, 8, 10, 12, 14]),
        ("2 from 0, 6 from 3", [0, 2, 3, 9, 15]),
        ("1, 4 from 4,100 from 9", [0, 1, 2, 3, 4, 8, 9]),
    ],
)
def test_it_is_due_every_so_many_and_at_the_begin_of_every_stage(value: int | str, expected: list[int]) -> None:
    assert due(value, 16) == expected


@pytest.mark.parametrize(
    "value", [0, -1, "0", "", "ten", "10 from 5", "10, 20", "10, 20 from 9, 30 from 9", "10, from 5"]
)
def test_anything_else_is_refused_by_name(value: int | str) -> None:
    with pytest.raises(ValueError, match="must be a number of at least 1, or a schedule such as '10, 100 from 500'"):
        Interval.of(value)
