"""Measuring both sides of a gate, and the findings that follow."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import dataclass
from time import perf_counter
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from suite.gate import clock, comparing
from suite.gate.baseline import key_of
from suite.gate.outcomes import Outcome, compare, to_target
from suite.gate.sides import CellError, Side
from suite.gate.verdicts import Channel, Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from suite.cell import Cell
    from suite.gate.baseline import Key
    from suite.gate.clock import Measured, Place
    from suite.gate.comparing import Comparison, Hits, Timing
    from suite.gate.sides import Setting


@dataclass(frozen=True)
class Plan:
    """What a gate measures, and how.

    Args:
        cells: of the spec.
        targets: by data set, training losses to reach.
        setting: shared by all processes.
        rounds: of the clock; 0 leaves the clock out.
        effect: relative change of seconds below which nothing is said.
        seed: of the bootstrap.
        say: told what is going on.

    """

    cells: tuple[Cell, ...]
    targets: Mapping[str, tuple[float, ...]]
    setting: Setting
    rounds: int = clock.ROUNDS
    effect: float = clock.EFFECT
    seed: int = 0
    say: Callable[[str], None] = lambda _text: None

    @property
    def timed(self) -> list[Cell]:
        """The cells that the clock looks at: the first seed of each data set and optimizer."""
        first: dict[Place, Cell] = {}
        for cell in self.cells:
            first.setdefault((cell.dataset, cell.optimizer), cell)
        return list(first.values())


class Outcomes(dict["Key", Outcome]):
    """Outcomes by cell, with the reasons of those that failed in `failed`."""

    def __init__(self) -> None:
        super().__init__()
        self.failed: dict[Key, str] = {}


def measure_outcomes(plan: Plan, side: Side) -> Outcomes:
    """Train every cell once, and count the operations of those that are timed."""
    outcomes = Outcomes()
    counted = {key_of(cell) for cell in plan.timed}
    for cell in plan.cells:
        key = key_of(cell)
        try:
            data = side.ask("outcome", cell)
            outcome = Outcome.read(data)
            if key in counted and outcome.status == "done":
                operations = side.ask("work", cell)["operations"]
                outcome = outcome._replace(operations=round(operations / max(1, outcome.iterations[-1])))
            outcomes[key] = outcome
        except CellError as error:
            outcomes.failed[key] = str(error)
    return outcomes


def hits(plan: Plan, before: Mapping[Key, Outcome], now: Mapping[Key, Outcome], tolerance: float) -> tuple[Hits, Hits]:
    """Iterations to every target of the cells that are timed, before and now; alike where the tolerance has them so."""
    olds: dict[Place, dict[float, float]] = {}
    news: dict[Place, dict[float, float]] = {}
    for cell in plan.timed:
        key, place = key_of(cell), (cell.dataset, cell.optimizer)
        if key in before and key in now:
            for target in plan.targets.get(cell.dataset, ()):
                old, new = before[key].iterations_to(target), now[key].iterations_to(target)
                same = to_target(before[key], now[key], target, tolerance) == Verdict.SAME
                olds.setdefault(place, {})[target] = old
                news.setdefault(place, {})[target] = old if same else new
    return olds, news


def deterministic_findings(
    plan: Plan,
    before: Mapping[Key, Outcome],
    keys: Mapping[Key, str] | None,
    now: Outcomes,
    tolerance: float,
    lost: Mapping[Key, str] = MappingProxyType({}),
) -> list[Finding]:
    """Every cell of the spec: compared, new, defined otherwise, or failed; and those of the baseline that are gone.

    Args:
        plan: what was measured.
        before: outcomes of the baseline.
        keys: the content keys of its cells; None where both sides were given the same spec.
        now: outcomes of the present sources.
        tolerance: relative change of a loss that is allowed.
        lost: reasons of the cells that failed on the other side.

    """
    findings: list[Finding] = []
    for cell in plan.cells:
        key, targets = key_of(cell), plan.targets.get(cell.dataset, ())
        if key in now.failed:
            findings.append(_bare(Channel.DETERMINISTIC, cell.name, Verdict.FAILED, now.failed[key]))
        elif key in lost:
            note = f"the other side fails: {lost[key]}"
            findings.append(_bare(Channel.DETERMINISTIC, cell.name, Verdict.INCOMPARABLE, note))
        elif key not in before:
            findings.append(_bare(Channel.DETERMINISTIC, cell.name, Verdict.NEW, "not in the baseline"))
        elif keys is not None and keys[key] != cell.key:
            note = "the spec defines it otherwise than the baseline's did"
            findings.append(_bare(Channel.DETERMINISTIC, cell.name, Verdict.INCOMPARABLE, note))
        else:
            findings += compare(cell.name, before[key], now[key], targets, tolerance)
    here = {key_of(cell) for cell in plan.cells}
    gone = [
        f"{optimizer} × {dataset} × seed {seed}"
        for dataset, optimizer, seed in before
        if (dataset, optimizer, seed) not in here
    ]
    note = "in the baseline, but no more in the spec"
    return findings + [_bare(Channel.DETERMINISTIC, name, Verdict.INCOMPARABLE, note) for name in gone]


def _bare(channel: Channel, cell: str, verdict: Verdict, note: str) -> Finding:
    return Finding(channel, cell, "all", None, None, None, 0.0, verdict, note=note)


def _without(measured: Measured, failed: Mapping[Place, str]) -> Measured:
    return {place: series for place, series in measured.items() if place not in failed}


class Clocked:
    """The clock's measurements of a gate: one of all cells, and a second one of those that stand out.

    Args:
        plan: what is measured, and how.
        comparison: the processes, and what is held against what.
        cells: to time; those that failed elsewhere are left out.

    """

    def __init__(self, plan: Plan, comparison: Comparison, cells: Sequence[Cell]) -> None:
        self._plan, self._comparison = plan, comparison
        self._generator = np.random.default_rng(plan.seed)
        plan.say(f"Timing {len(cells)} cells in {plan.rounds} interleaved rounds")
        self.first, self.failed = self._rounds(cells)
        self.floor = max(comparing.floors(comparison, self.first, self._generator).values(), default=math.nan)
        """The noise floor: the largest of the cells'."""
        self.timings = list(comparison.timings(self.first, self._generator))
        standing_out = {t.place for t in self.timings if t.reading.beyond(plan.effect) != Verdict.SAME}
        self.again: dict[tuple[Place, str], Timing] = {}
        if standing_out:
            plan.say(f"Once more, with fresh processes, for {len(standing_out)} cells that stand out")
            needed = [c for c in cells if self._needed(c, standing_out)]
            second, failed = self._rounds(needed)
            self.failed.update(failed)
            timings = comparison.timings(second, self._generator)
            self.again = {(t.place, t.measure): t for t in timings if t.place in standing_out}

    def _needed(self, cell: Cell, places: Iterable[Place]) -> bool:
        """Whether a cell is one of some, or the Adam that one of them is counted in."""
        chosen = set(places)
        adam = cell.optimizer == "adam" and any(dataset == cell.dataset for dataset, _ in chosen)
        return (cell.dataset, cell.optimizer) in chosen or adam

    def _rounds(self, cells: Sequence[Cell]) -> tuple[dict[str, Measured], dict[Place, str]]:
        with ExitStack() as stack:
            sides = {
                name: stack.enter_context(Side(sources, self._plan.setting))
                for name, sources in self._comparison.sides.items()
            }
            begun = perf_counter()
            measured, failed = clock.measure(sides, cells, self._plan.rounds)
            for _ in range(clock.MOST_TIMES - 1):
                floors = comparing.floors(self._comparison, measured, self._generator)
                noisy = {place for place, floor in floors.items() if floor > self._plan.effect}
                if not noisy or perf_counter() - begun > clock.LONGEST:
                    break
                worst = 100 * max(floors.values())
                self._plan.say(f"The noise floor is {worst:.1f} %: more rounds for {len(noisy)} cells")
                more = [c for c in cells if (c.dataset, c.optimizer) not in failed and self._needed(c, noisy)]
                further, lost = clock.measure(sides, more, self._plan.rounds)
                failed.update(lost)
                measured = clock.joined(measured, further)
            return {side: _without(cells, failed) for side, cells in measured.items()}, failed

    def findings(self) -> list[Finding]:
        """One for each measure of each cell."""
        names = {(cell.dataset, cell.optimizer): cell.name for cell in self._plan.timed}
        found = [_bare(Channel.CLOCK, names[place], Verdict.FAILED, why) for place, why in self.failed.items()]
        return found + [self._finding(names[timing.place], timing) for timing in self.timings]

    def _finding(self, cell: str, timing: Timing) -> Finding:
        first, effect = timing.reading, self._plan.effect
        second = self.again.get((timing.place, timing.measure))
        again = None if second is None else second.reading
        said = clock.verdict(first, again, effect)
        note = f"noise floor {100 * first.floor:.1f} %"
        if again is not None:
            recurred = "" if said != Verdict.SAME or first.beyond(effect) == Verdict.SAME else "did not recur: "
            note = f"{recurred}{100 * again.change:+.1f} % in a second measurement; {note}"
        allowed = max(effect, first.floor)
        return Finding(
            Channel.CLOCK,
            cell,
            timing.measure,
            timing.before,
            timing.now,
            first.change,
            allowed,
            said,
            first.interval,
            note,
        )
