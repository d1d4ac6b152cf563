"""The clock channel: seconds as ratios within interleaved rounds, and when a difference of them counts.

A round trains every cell once on every side, one after the other and in turning order. An iteration does the same work
in every round; what else the host does only adds to it, and at other iterations each time. So of every iteration the
quickest round counts:

    T = Σ over iterations of min over rounds of seconds

On a host with twice as many busy processes as cores, two processes of the same sources differed by up to 3.5 % in T of
8 rounds, by 18 % where the lower quartile over rounds took the minimum's place, and by 15 % with the median. What slows
an iteration now and then, not at the same iteration of every training, is not seen.

Rounds are repeated, up to `MOST_TIMES` over, for the cells whose noise floor is above the effect that is asked for: a
quiet host is done soon, a busy one takes longer, but no repetition begins after `LONGEST`. The floor comes from two
processes of the same sources and knows nothing of the difference in question.

A difference counts if it is larger than the effect that is asked for and than the noise floor, if the interval of a
bootstrap over rounds (drawn whole, with all sides and iterations in them) leaves out zero, and if all of that comes
again with fresh processes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from suite.analysis.bootstrap import percentile_interval
from suite.analysis.intervals import Interval
from suite.gate.sides import CellError
from suite.gate.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from suite.cell import Cell
    from suite.gate.sides import Side

    Drawn = Callable[[NDArray[np.int64]], NDArray[np.float64]]  # draws of rounds (draws, rounds) → a logarithm (draws,)

DRAWS = 500
"""Of the bootstrap."""

EFFECT = 0.05
"""Relative change of seconds below which nothing is said, unless told otherwise."""

ROUNDS = 6
"""Of one measurement, at least."""

MOST_TIMES = 4
"""As many of them, at most, where the host is busy."""

LONGEST = 60.0
"""Seconds of a measurement after which its rounds are not repeated any more."""

Place = tuple[str, str]
"""Data set and optimizer."""


class Series(NamedTuple):
    """The times of one cell on one side."""

    seconds: NDArray[np.float64]  # (rounds, iterations)
    reference: NDArray[np.float64]  # (rounds,), of the reference workload before each training

    def followed_by(self, later: Series | None) -> Series:
        """The rounds of both."""
        if later is None:
            return self
        return Series(np.concatenate([self.seconds, later.seconds]), np.concatenate([self.reference, later.reference]))

    def per_iteration(self, drawn: NDArray[np.int64]) -> NDArray[np.float64]:
        """The logarithm of T/iterations, (draws,), for draws of rounds (draws, rounds)."""
        means = np.array([self.seconds[rounds].min(axis=0).mean() for rounds in drawn])
        return np.asarray(np.log(means))

    def of_reference(self, drawn: NDArray[np.int64]) -> NDArray[np.float64]:
        """The same of the reference workload's seconds."""
        return np.asarray(np.log(self.reference[drawn].min(axis=1)))


Measured = dict[Place, Series]
"""What one side took, by cell."""


class Reading(NamedTuple):
    """A relative change of seconds, once measured."""

    change: float  # now / before − 1
    interval: Interval  # of the change, by the bootstrap over rounds
    floor: float  # what 95 % of the bootstrap's changes between two processes of the same sources stay below

    def beyond(self, effect: float) -> Verdict:
        """What it says by itself; the effect counts on a logarithmic scale, so that both directions are alike."""
        allowed = math.log1p(max(effect, self.floor))
        if self.interval.low > 0 and math.log1p(self.change) > allowed:
            return Verdict.WORSE
        if self.interval.high < 0 and math.log1p(self.change) < -allowed:
            return Verdict.BETTER
        return Verdict.SAME


def verdict(first: Reading, again: Reading | None, effect: float) -> Verdict:
    """What two independent measurements say; the second is only taken where the first says something."""
    said = first.beyond(effect)
    return said if again is not None and again.beyond(effect) == said else Verdict.SAME


def reading(
    change: Drawn,
    twin: Drawn,
    rounds: int,
    generator: np.random.Generator,
    deviation: float = 0.0,
) -> Reading:
    """A change with its interval and noise floor.

    Args:
        change: the logarithm of now / before, (draws,), for draws of rounds (draws, rounds).
        twin: the same between two processes of the same sources.
        rounds: how many there are.
        generator: of the bootstrap.
        deviation: standard deviation of what `change` takes for known, such as a stored ratio's.

    """
    drawn = generator.integers(rounds, size=(DRAWS, rounds))
    changes = change(drawn) + deviation * generator.standard_normal(DRAWS)
    low, high = np.expm1(percentile_interval(changes))
    floor = noise_floor(twin, drawn)
    value = np.expm1(change(np.arange(rounds)[None]))[0]
    return Reading(float(value), Interval(float(low), float(high)), floor)


def noise_floor(twin: Drawn, drawn: NDArray[np.int64]) -> float:
    """The change between two processes of the same sources that 95 % of the bootstrap's stay below."""
    return float(np.expm1(np.quantile(np.abs(twin(drawn)), 0.95)))


def measure(
    sides: Mapping[str, Side], cells: Sequence[Cell], rounds: int, step: Callable[[], None] = lambda: None
) -> tuple[dict[str, Measured], dict[Place, str]]:
    """Interleaved rounds of every cell on every side.

    Args:
        sides: running, by name.
        cells: one of each data set and optimizer.
        rounds: how many.
        step: called after every cell.

    Returns:
        The times by side and cell; and the cells that failed, with the reason.

    """
    names = list(sides)
    taken: dict[str, dict[Place, list[tuple[list[float], float]]]] = {name: {} for name in names}
    failed: dict[Place, str] = {}
    for number in range(rounds):
        turned = names[number % len(names) :] + names[: number % len(names)]
        for cell in cells:
            place = cell.dataset, cell.optimizer
            if place in failed:
                continue
            try:
                for name in turned:
                    reply = sides[name].ask("clock", cell)
                    taken[name].setdefault(place, []).append((reply["seconds"], reply["reference"]))
            except CellError as error:
                failed[place] = str(error)
            step()
    return {
        name: {place: _series(rows) for place, rows in places.items() if place not in failed}
        for name, places in taken.items()
    }, failed


def joined(earlier: Mapping[str, Measured], later: Mapping[str, Measured]) -> dict[str, Measured]:
    """The rounds of both, by side; cells that took part in the later ones alone are left out."""
    return {
        side: {place: series.followed_by(later[side].get(place)) for place, series in cells.items()}
        for side, cells in earlier.items()
    }


def _series(rows: Sequence[tuple[Sequence[float], float]]) -> Series:
    iterations = min(len(seconds) for seconds, _ in rows)
    seconds = np.array([seconds[:iterations] for seconds, _ in rows], dtype=np.float64)
    return Series(seconds, np.array([reference for _, reference in rows], dtype=np.float64))
