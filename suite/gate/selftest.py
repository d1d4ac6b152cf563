"""The gate held to its promises: it passes what is the same, and catches regressions made on purpose."""

from __future__ import annotations

from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING

from suite.gate.gating import Opponent, gate
from suite.gate.injections import INJECTIONS
from suite.gate.sides import Sources
from suite.gate.verdicts import Channel, Report, Verdict

if TYPE_CHECKING:
    from suite.gate.running import Plan

SAME = "same sources"
"""The A/A trial."""

TRIALS = (SAME, *INJECTIONS)


@dataclass(frozen=True)
class Trial:
    """One gate whose answer is known.

    Args:
        name: `SAME`, or of an injection.
        worse: findings for the worse by channel; None where the channel was not asked.
        compared: measures that were held against each other, in the channel that was asked and has the fewest.
        seconds: that it took.

    """

    name: str
    worse: dict[str, int | None]
    compared: int
    seconds: float

    @property
    def right(self) -> bool:
        """Whether the answer is the right one: silence, or an alarm in the channel that has to give it.

        Of a slower step the deterministic channel knows nothing. What a wrong damping or a stale curvature does to the
        time of a step is not asked.
        """
        deterministic, clock = (bool(self.worse[channel]) for channel in (Channel.DETERMINISTIC, Channel.CLOCK))
        if not self.compared:
            return False
        if self.name == SAME:
            return not deterministic and not clock
        if INJECTIONS[self.name].channel == Channel.CLOCK:
            return clock and not deterministic
        return deterministic


def trial(plan: Plan, name: str) -> Trial:
    """Hold the sources with an injection against the sources without it."""
    begun = perf_counter()
    inject = None if name == SAME else name
    clock_asked = inject is None or INJECTIONS[inject].channel == Channel.CLOCK
    asked = plan if clock_asked else replace(plan, rounds=0)
    found = gate(asked, name, Sources(inject=inject), Opponent(None, Sources(), "the sources as they are")).report
    worse: dict[str, int | None] = {channel: _worse(found, channel) for channel in Channel if channel != "kernels"}
    if not clock_asked:
        worse[Channel.CLOCK] = None
    counts = (
        sum(finding.verdict.compared for finding in found.findings if finding.channel == channel)
        for channel in worse
        if clock_asked or channel != Channel.CLOCK
    )
    compared = min(counts)
    return Trial(name, worse, compared, perf_counter() - begun)


def _worse(found: Report, channel: Channel) -> int:
    return sum(finding.channel == channel for finding in found.of(Verdict.WORSE))


def rows(trials: list[Trial]) -> list[list[str]]:
    """A table: what was tried, what each channel said, and whether that is right."""
    return [
        [
            each.name if each.name == SAME else f"{each.name}: {INJECTIONS[each.name].what}",
            "silence" if each.name == SAME else INJECTIONS[each.name].channel.value,
            *("not asked" if count is None else str(count) for count in each.worse.values()),
            "yes" if each.right else "NO",
            f"{each.seconds:.0f} s",
        ]
        for each in trials
    ]


HEADINGS = ("trial", "expected alarm", "deterministic", "clock", "as expected", "took")
"""Of `rows`; under a channel, how many measures it found to be worse."""
