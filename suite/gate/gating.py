"""One gate: the present sources held against a stored baseline, against other sources, or against both."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from suite.errors import SuiteError
from suite.gate.baseline import Baseline, Environment, key_of
from suite.gate.comparing import SideBySide, Stored, ratios
from suite.gate.outcomes import ANOTHER_CLASS
from suite.gate.running import Clocked, deterministic_findings, hits, measure_outcomes
from suite.gate.sides import Side
from suite.gate.verdicts import Channel, Finding, Report, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from suite.gate.baseline import Ratio
    from suite.gate.comparing import Comparison
    from suite.gate.running import Outcomes, Plan
    from suite.gate.sides import Sources


class Opponent(NamedTuple):
    """What the present sources are held against.

    Args:
        stored: a baseline, for the deterministic channel and, where there are no `sources`, for the clock.
        sources: others, to be trained beside the present ones.
        words: what it is, for people.

    """

    stored: Baseline | None
    sources: Sources | None
    words: str


class Result(NamedTuple):
    """What a gate found, and the baseline that the present sources would make."""

    report: Report
    fresh: Baseline | None  # None: nothing could be measured


def gate(
    plan: Plan,
    name: str,
    now: Sources,
    opponent: Opponent,
    *,
    tolerance: float | None = None,
    shadow: bool = False,
    update: bool = False,
) -> Result:
    """Measure and compare.

    Args:
        plan: what is measured, and how.
        name: of the spec.
        now: the present sources.
        opponent: what they are held against.
        tolerance: relative change of a loss that is allowed; if None, none on the same class of host.
        shadow: the clock reports without failing.
        update: measure everything, also what cannot be compared, for a new baseline.

    Raises:
        SuiteError: a side cannot be started.

    """
    stored, others = opponent.stored, opponent.sources
    with ExitStack() as stack:
        sides = [stack.enter_context(Side(each, plan.setting)) for each in (now, others) if each is not None]
        here = environment_of(sides[0], name)
        between = _between(sides, here, name)
        obstacles = ([] if stored is None else stored.environment.obstacles(here)) + between
        if between or (obstacles and others is None and not update):
            return Result(Report(name, opponent.words, (), tuple(obstacles), shadow=shadow), None)
        plan.say(f"Training {len(plan.cells)} cells")
        with ThreadPoolExecutor(len(sides)) as pool:  # all sides at once: no clock runs
            outcomes, *beside = pool.map(partial(measure_outcomes, plan), sides)
    other_class = [] if stored is None else stored.environment.other_class(here)
    comparable = None if obstacles else stored
    allowed = tolerance if tolerance is not None else ANOTHER_CLASS if comparable and other_class else 0.0
    findings, notes = _deterministic(plan, comparable, (outcomes, *beside), allowed, other_class)
    clocked = _clock(plan, now, opponent, (outcomes, *beside), allowed, [*obstacles, *other_class], update=update)
    keys = {key_of(cell): cell.key for cell in plan.cells}
    fresh = None if outcomes.failed or not outcomes else Baseline(here, dict(outcomes), keys, clocked.fresh)
    found, said = (*findings, *clocked.findings), (*notes, *clocked.notes)
    return Result(Report(name, opponent.words, found, tuple(obstacles), said, shadow), fresh)


def _deterministic(
    plan: Plan, stored: Baseline | None, measured: Sequence[Outcomes], allowed: float, other_class: Sequence[str]
) -> tuple[list[Finding], list[str]]:
    """Against the baseline if there is one to compare with, else against the other side, else against nothing."""
    now, *beside = measured
    if stored is not None:
        findings = deterministic_findings(plan, stored.outcomes, stored.keys, now, allowed)
        return findings, _on_tolerance(allowed, other_class)
    if beside:
        findings = deterministic_findings(plan, beside[0], None, now, allowed, beside[0].failed)
        return findings, _on_tolerance(allowed, [])
    return deterministic_findings(plan, {}, None, now, allowed), []


class _OfTheClock(NamedTuple):
    """What the clock channel found and noted, and the ratios that a new baseline would hold."""

    findings: Sequence[Finding] = ()
    notes: Sequence[str] = ()
    fresh: Mapping[tuple[str, str], Ratio] = MappingProxyType({})


def _clock(
    plan: Plan,
    now: Sources,
    opponent: Opponent,
    measured: Sequence[Outcomes],
    allowed: float,
    differences: Sequence[str],
    *,
    update: bool,
) -> _OfTheClock:
    """Times against the other side, else against the baseline's; for a new baseline also against nothing."""
    if not plan.rounds:
        return _OfTheClock()
    comparison, why_not = _comparison(plan, now, opponent, measured, differences, allowed)
    findings = _not_asked(plan, opponent, measured, why_not)
    notes = []
    if update and comparison is None:
        comparison = Stored(now, {})
    elif comparison is None and not why_not and opponent.stored is not None:
        notes.append("The clock was not asked: the baseline holds no times.")
    timed = [cell for cell in plan.timed if all(key_of(cell) in side for side in measured)]
    if comparison is None or not timed:
        return _OfTheClock(findings, notes)
    clocked = Clocked(plan, comparison, timed)
    findings += clocked.findings()
    if clocked.first["now"]:
        notes.append(f"Noise floor of the clock, from two processes of the same sources: {100 * clocked.floor:.1f} %.")
    fresh = ratios(clocked.first, np.random.default_rng(plan.seed)) if update else {}
    return _OfTheClock(findings, notes, fresh)


def _not_asked(plan: Plan, opponent: Opponent, measured: Sequence[Outcomes], why_not: str) -> list[Finding]:
    """Cells whose time is held against nothing, with the reason."""
    findings = []
    if why_not:
        findings.append(_incomparable("all cells", "time", plan.effect, why_not))
    if len(measured) > 1 and opponent.stored is not None:  # else the deterministic channel says it
        failed = measured[1].failed
        lost = [cell for cell in plan.timed if key_of(cell) in failed]
        findings += [_incomparable(cell.name, "all", 0.0, f"there: {failed[key_of(cell)]}") for cell in lost]
    return findings


def _incomparable(cell: str, measure: str, allowed: float, why: str) -> Finding:
    return Finding(Channel.CLOCK, cell, measure, None, None, None, allowed, Verdict.INCOMPARABLE, note=why)


def _between(sides: Sequence[Side], here: Environment, spec: str) -> list[str]:
    """What forbids to compare the two sides: another torch, or a spec that the other one cannot measure."""
    try:
        others = [environment_of(side, spec) for side in sides[1:]]
    except SuiteError as error:
        return [str(error)]
    return [obstacle for other in others for obstacle in other.obstacles(here, "in the other revision")]


def environment_of(side: Side, spec: str) -> Environment:
    """What a side says of itself."""
    said = side.environment
    return Environment(str(said["torch"]), int(said["threads"]), said["host_class"], spec)


def _comparison(
    plan: Plan,
    now: Sources,
    opponent: Opponent,
    measured: Sequence[Outcomes],
    differences: Sequence[str],
    tolerance: float,
) -> tuple[Comparison | None, str]:
    """What the clock is held against, and why it is held against nothing where it could have been."""
    if opponent.sources is not None:
        return SideBySide(now, opponent.sources, *hits(plan, measured[1], measured[0], tolerance)), ""
    stored = opponent.stored
    if stored is None or not stored.clock:
        return None, ""
    if differences:
        return None, f"times of another host: {'; '.join(differences)}"
    return Stored(now, stored.clock, *hits(plan, stored.outcomes, measured[0], tolerance)), ""


def _on_tolerance(allowed: float, other_class: Sequence[str]) -> list[str]:
    """What is allowed of the deterministic channel, and why."""
    if other_class:
        return [f"Another {'; another '.join(other_class)}. Losses may differ by {_percent(allowed)}."]
    return [f"Losses may differ by {_percent(allowed)}."] if allowed else []


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
