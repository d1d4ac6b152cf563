"""What the clock channel holds against what: two sets of sources side by side, or ratios against stored ones."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from suite.gate.baseline import Ratio
from suite.gate.clock import DRAWS, Reading, noise_floor, reading

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from suite.gate.clock import Drawn, Measured, Place
    from suite.gate.sides import Sources

    Hits = Mapping[Place, Mapping[float, float]]  # iterations to each target, by cell; ∞ is a miss


class Timing(NamedTuple):
    """A measure of the clock, before and now, and what is known of its change."""

    place: Place
    measure: str
    before: float
    now: float
    reading: Reading


class Comparison(Protocol):
    """Which processes take part, and what their times say."""

    @property
    def sides(self) -> Mapping[str, Sources]:
        """The sources of each process."""

    def twin(self, measured: Mapping[str, Measured], place: Place) -> Drawn:
        """The logarithm of the ratio of two processes of the same sources."""

    def timings(self, measured: Mapping[str, Measured], generator: np.random.Generator) -> Iterator[Timing]:
        """What the rounds say of every cell that can be held against something."""


@dataclass(frozen=True)
class SideBySide:
    """The present sources beside others in the same rounds, and a second process of the others for the noise floor.

    Args:
        now: the present sources.
        before: the others.
        hits_before: iterations to targets with the others.
        hits_now: and with the present ones.

    """

    now: Sources
    before: Sources
    hits_before: Hits
    hits_now: Hits

    @property
    def sides(self) -> Mapping[str, Sources]:
        """Three processes."""
        return {"before": self.before, "now": self.now, "twin": self.before}

    def twin(self, measured: Mapping[str, Measured], place: Place) -> Drawn:
        """Of the others."""
        return _difference(measured["twin"][place].per_iteration, measured["before"][place].per_iteration)

    def timings(self, measured: Mapping[str, Measured], generator: np.random.Generator) -> Iterator[Timing]:
        """Seconds of an iteration and to targets, in those of the other sources."""
        for place, now in measured["now"].items():
            before = measured["before"][place]
            found = reading(
                _difference(now.per_iteration, before.per_iteration),
                self.twin(measured, place),
                len(now.seconds),
                generator,
            )
            yield Timing(place, "seconds per iteration", 1.0, 1 + found.change, found)
            yield from _to_targets(place, found, 1.0, self.hits_before, self.hits_now)


@dataclass(frozen=True)
class Stored:
    """The present sources' iterations in Adam's of the same rounds, held against stored ratios.

    Args:
        now: the present sources, in two processes: their mean counts, and their difference is the noise floor.
        ratios: as stored.
        hits_before: iterations to targets as stored.
        hits_now: and with the present sources.

    """

    now: Sources
    ratios: Mapping[Place, Ratio]
    hits_before: Hits = field(default_factory=dict)
    hits_now: Hits = field(default_factory=dict)

    @property
    def sides(self) -> Mapping[str, Sources]:
        """Two processes."""
        return {"now": self.now, "twin": self.now}

    def twin(self, measured: Mapping[str, Measured], place: Place) -> Drawn:
        """Of the present ones, both in their units."""
        return _difference(ratio_of(measured["now"], place), ratio_of(measured["twin"], place))

    def timings(self, measured: Mapping[str, Measured], generator: np.random.Generator) -> Iterator[Timing]:
        """Iterations of Adam that one iteration takes, and that it takes to targets."""
        for place in measured["now"]:
            stored = self.ratios.get(place)
            if stored is None or unit_of(measured["now"], place) != stored.unit:
                continue
            now, twin = (ratio_of(measured[side], place) for side in ("now", "twin"))
            found = reading(
                _mean_above(now, twin, math.log(stored.value)),
                self.twin(measured, place),
                _rounds(measured, place),
                generator,
                stored.deviation,
            )
            unit = "Adam's iterations" if stored.unit == "adam" else "the reference workload"
            value = stored.value
            yield Timing(place, f"time per iteration, in {unit}", value, value * (1 + found.change), found)
            yield from _to_targets(place, found, value, self.hits_before, self.hits_now, f", in {unit}")


def unit_of(measured: Measured, place: Place) -> str:
    """What a cell's iteration is counted in: Adam's on the same data set, else the reference workload."""
    adam = place[0], "adam"
    return "adam" if place != adam and adam in measured else "reference"


def ratio_of(measured: Measured, place: Place) -> Drawn:
    """The logarithm of an iteration's time in its unit."""
    series = measured[place]
    if unit_of(measured, place) == "reference":
        return _difference(series.per_iteration, series.of_reference)
    return _difference(series.per_iteration, measured[place[0], "adam"].per_iteration)


def floors(
    comparison: Comparison, measured: Mapping[str, Measured], generator: np.random.Generator
) -> dict[Place, float]:
    """The noise floor of every cell."""
    found = {}
    for place in measured["now"]:
        rounds = _rounds(measured, place)
        drawn = generator.integers(rounds, size=(DRAWS, rounds))
        found[place] = noise_floor(comparison.twin(measured, place), drawn)
    return found


def ratios(measured: Mapping[str, Measured], generator: np.random.Generator) -> dict[Place, Ratio]:
    """What a baseline stores, of two processes of the same sources; their difference counts as noise."""
    found = {}
    for place in measured["now"]:
        now, twin = (ratio_of(measured[side], place) for side in ("now", "twin"))
        rounds = _rounds(measured, place)
        drawn, all_rounds = generator.integers(rounds, size=(DRAWS, rounds)), np.arange(rounds)[None]
        noise = float(((now(drawn) + twin(drawn)) / 2).std())
        one, other = float(now(all_rounds)[0]), float(twin(all_rounds)[0])
        deviation = math.hypot(noise, (one - other) / 2)
        found[place] = Ratio(unit_of(measured["now"], place), math.exp((one + other) / 2), deviation)
    return found


def _difference(one: Drawn, other: Drawn) -> Drawn:
    return lambda drawn: one(drawn) - other(drawn)


def _mean_above(one: Drawn, other: Drawn, known: float) -> Drawn:
    """How far the mean of two lies above a known value."""
    return lambda drawn: (one(drawn) + other(drawn)) / 2 - known


def _rounds(measured: Mapping[str, Measured], place: Place) -> int:
    return len(measured["now"][place].seconds)


def _to_targets(
    place: Place, found: Reading, before: float, hits_before: Hits, hits_now: Hits, unit: str = ""
) -> Iterator[Timing]:
    """Time of an iteration times iterations to each target; of a miss there is none."""
    for target, old in hits_before.get(place, {}).items():
        new = hits_now.get(place, {}).get(target, math.inf)
        if not (0 < old < math.inf and 0 < new < math.inf):
            continue
        times = new / old
        low, high = ((1 + end) * times - 1 for end in found.interval)
        change = (1 + found.change) * times - 1
        scaled = Reading(change, type(found.interval)(low, high), found.floor)
        measure = f"{'time' if unit else 'seconds'} to {target:g}{unit}"
        yield Timing(place, measure, before * old, before * old * (1 + change), scaled)
