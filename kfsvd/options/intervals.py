"""At which iterations something is due: every so many, or on a schedule."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import NamedTuple


class Interval(NamedTuple):
    """Every n-th iteration, with n changing at given iterations.

    `10` is every 10; `"10, 100 from 500"` is every 10 at first, and from iteration 500 on every 100. Each stage begins
    with an iteration at which it is due.
    """

    stages: tuple[tuple[int, int], ...]  # (first iteration, n), the first from 0 on

    @classmethod
    def of(cls, value: int | str) -> Interval:
        """Read a number or a schedule.

        Raises:
            ValueError: it is neither, an interval is below 1, or the stages do not rise.

        """
        if isinstance(value, str):
            stages = [re.fullmatch(r"\s*(\d+)(?:\s+from\s+(\d+))?\s*", part) for part in value.split(",")]
            read = tuple((int(stage[2] or 0), int(stage[1])) for stage in stages if stage is not None)
            well_formed = len(read) == len(stages) and read[0][0] == 0
        else:
            read, well_formed = ((0, value),), isinstance(value, int) and not isinstance(value, bool)
        rising = all(a[0] < b[0] for a, b in pairwise(read))
        if not well_formed or not rising or any(n < 1 for _, n in read):
            raise ValueError(f"must be a number of at least 1, or a schedule such as '10, 100 from 500'; got {value!r}")
        return cls(read)

    @property
    def last(self) -> int:
        """The n of the last stage."""
        return self.stages[-1][1]

    def due(self, iteration: int) -> bool:
        """Whether it is due at an iteration, counted from 0."""
        first, n = next(stage for stage in reversed(self.stages) if stage[0] <= iteration)
        return (iteration - first) % n == 0
