"""One gate: the present sources held against a stored baseline, against other sources, or against both."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
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
    from collections.abc import Sequence

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
    findings: list[Finding] = []
    other_class = [] if stored is None else stored.environment.other_class(here)
    notes: list[str] = []
    if stored is not None and not obstacles:
        allowed = tolerance if tolerance is not None else ANOTHER_CLASS if other_class else 0.0
        findings += deterministic_findings(plan, stored.outcomes, stored.keys, outcomes, allowed)
        notes += _on_tolerance(allowed, other_class)
    elif beside:
        allowed = tolerance or 0.0
        findings += deterministic_findings(plan, beside[0], None, outcomes, allowed, beside[0].failed)
        notes += _on_tolerance(allowed, [])
    else:
        allowed = 0.0
        findings += deterministic_findings(plan, {}, None, outcomes, allowed)
    comparison, why_not = _comparison(plan, now, opponent, (outcomes, *beside), [*obstacles, *other_class], allowed)
    timed = [cell for cell in plan.timed if all(key_of(cell) in side for side in (outcomes, *beside))]
    if plan.rounds and beside and stored is not None:
        findings += [
            Finding(Channel.CLOCK, cell.name, "all", None, None, None, 0.0, Verdict.INCOMPARABLE, note=f"there: {why}")
            for cell in plan.timed
            if (why := beside[0].failed.get(key_of(cell))) is not None
        ]
    fresh_clock = {}
    if update and comparison is None:
        comparison = Stored(now, {})
    if plan.rounds and timed and comparison is not None:
        clocked = Clocked(plan, comparison, timed)
        findings += clocked.findings()
        if clocked.first["now"]:
            notes.append(
                f"Noise floor of the clock, from two processes of the same sources: {100 * clocked.floor:.1f} %."
            )
        if update:
            fresh_clock = ratios(clocked.first, np.random.default_rng(plan.seed))
    if plan.rounds and comparison is None and not why_not and stored is not None:
        notes.append("The clock was not asked: the baseline holds no times.")
    if why_not and plan.rounds:
        findings.append(
            Finding(
                Channel.CLOCK, "all cells", "time", None, None, None, plan.effect, Verdict.INCOMPARABLE, note=why_not
            )
        )
    keys = {key_of(cell): cell.key for cell in plan.cells}
    fresh = None if outcomes.failed or not outcomes else Baseline(here, dict(outcomes), keys, fresh_clock)
    return Result(Report(name, opponent.words, tuple(findings), tuple(obstacles), tuple(notes), shadow), fresh)


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
