"""What a gate finds, and the exit code that follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from suite.analysis.intervals import UNKNOWN, Interval
from suite.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterable


class Channel(StrEnum):
    """Where a finding stems from."""

    DETERMINISTIC = "deterministic"
    CLOCK = "clock"
    KERNELS = "kernels"


class Verdict(StrEnum):
    """What is said of one measure of one cell."""

    SAME = "same"
    BETTER = "better"
    WORSE = "worse"
    FAILED = "failed"  # nothing was measured
    NEW = "new"  # the baseline has nothing to hold it against
    INCOMPARABLE = "not comparable"

    @property
    def compared(self) -> bool:
        """Whether two measurements were held against each other."""
        return self in (Verdict.SAME, Verdict.BETTER, Verdict.WORSE)


@dataclass(frozen=True)
class Finding:
    """One measure of one cell, before and now.

    Args:
        channel: where it stems from.
        cell: of the spec, as people name it.
        measure: what was measured, "iterations to 20".
        before: in the baseline; None where there is nothing, ∞ for a target that is missed.
        now: with the present sources.
        change: relative, now / before − 1; above 0 is worse.
        allowed: the change up to which nothing is said.
        verdict: what follows.
        interval: of the change, where it is measured with noise.
        note: for people, in a few words.

    """

    channel: Channel
    cell: str
    measure: str
    before: float | None
    now: float | None
    change: float | None
    allowed: float
    verdict: Verdict
    interval: Interval = UNKNOWN
    note: str = ""


@dataclass(frozen=True)
class Report:
    """All that one gate has to say.

    Args:
        name: of the spec.
        against: what the present sources were held against, in words.
        findings: of every measure.
        obstacles: why nothing, or not everything, can be compared: "torch: 2.12 in the baseline, 2.13 here"; what else
            is compared then makes no gate green.
        notes: what else a reader should know, such as the noise floor.
        shadow: the clock channel reports without failing.

    """

    name: str
    against: str
    findings: tuple[Finding, ...]
    obstacles: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    shadow: bool = False

    def counted(self) -> list[Finding]:
        """The findings that the exit code depends on."""
        return [f for f in self.findings if not (self.shadow and f.channel == Channel.CLOCK)]

    def of(self, *verdicts: Verdict) -> list[Finding]:
        """The findings of these verdicts."""
        return [finding for finding in self.findings if finding.verdict in verdicts]

    @property
    def exit_code(self) -> ExitCode:
        """The gravest of what was found: a regression, then failed cells, what cannot be compared, and nothing at all.

        In shadow the clock alone makes nothing fail, and what it cannot compare neither; but a gate that compared
        nothing else is not green by it.
        """
        counted = self.counted()
        verdicts = {finding.verdict for finding in counted}
        if Verdict.WORSE in verdicts:
            return ExitCode.REGRESSION
        if Verdict.FAILED in verdicts:
            return ExitCode.CELLS_FAILED
        if Verdict.INCOMPARABLE in verdicts or self.obstacles:
            return ExitCode.NOT_COMPARABLE
        return ExitCode.FINE if _any_compared(counted) else ExitCode.NOTHING_MEASURED


def _any_compared(findings: Iterable[Finding]) -> bool:
    return any(finding.verdict.compared for finding in findings)


def relative_change(before: float, now: float) -> float:
    """The change now / before − 1 where less is better; ∞ where only the present one misses, 0 where both do.

    NaN counts as a miss: a loss that is no number is worse than any.
    """
    before, now = (float("inf") if value != value else value for value in (before, now))
    if before == now:
        return 0.0
    if now == float("inf"):
        return float("inf")
    if before == float("inf"):
        return -1.0
    return (now - before) / abs(before) if before else float("inf") * (1 if now > 0 else -1)


def judged(change: float, allowed: float) -> Verdict:
    """By the change alone."""
    if change > allowed:
        return Verdict.WORSE
    return Verdict.BETTER if change < -allowed else Verdict.SAME
