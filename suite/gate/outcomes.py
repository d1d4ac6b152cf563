"""The deterministic channel: what the same sources, seed and kind of machine give again to the last bit.

Only a change for the worse is a regression. On the same class of host (processor, its instructions, BLAS, system) any
such change is; on another one rounding differs, and grows over the iterations. Measured on specs/ci.yaml with other
instructions and another BLAS path (ATEN_CPU_CAPABILITY=avx2 or default, MKL_CBWR=COMPATIBLE), losses differ by up to
0.3 %, and held-out Fisher errors by up to 3.5 %, where inverses are of low rank; by less than 0.01 % and 0.5 %
elsewhere. So `ANOTHER_CLASS` is allowed there.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from suite.gate.verdicts import Channel, Finding, Verdict, judged, relative_change

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ANOTHER_CLASS = 0.01
"""Relative change of a loss that is allowed on another class of host."""

FISHER = 10
"""Times as much is allowed of a Fisher error."""

OPERATIONS = 5
"""Times as much is allowed of counted operations: ranks of an inverse follow the rounding."""


class Outcome(NamedTuple):
    """What one training came to, the clock aside."""

    status: str  # done | diverged
    iterations: tuple[int, ...]  # of the evaluations
    train_loss: tuple[float, ...]
    test_loss: tuple[float, ...]
    fisher: Mapping[str, float]  # held-out error of the optimizer's own F̂ at the end, by layer
    operations: int | None = None  # floating-point operations of an iteration; None: not counted

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Outcome:
        """From plain JSON values; a null is a loss that is no number."""

        def number(value: Any) -> float:
            return math.nan if value is None else float(value)

        counted = data.get("operations")
        return cls(
            status=str(data["status"]),
            iterations=tuple(map(int, data["iterations"])),
            train_loss=tuple(map(number, data["train_loss"])),
            test_loss=tuple(map(number, data["test_loss"])),
            fisher={str(layer): number(value) for layer, value in data["fisher"].items()},
            operations=None if counted is None else int(counted),
        )

    def plain(self) -> dict[str, Any]:
        """The JSON values that `read` reads."""

        def number(value: float) -> float | None:
            return value if math.isfinite(value) else None

        return {
            "status": self.status,
            "iterations": list(self.iterations),
            "train_loss": [number(value) for value in self.train_loss],
            "test_loss": [number(value) for value in self.test_loss],
            "fisher": {layer: number(value) for layer, value in self.fisher.items()},
            "operations": self.operations,
        }

    def iterations_to(self, target: float, slack: float = 0.0) -> float:
        """The first evaluated iteration whose training loss is at most target · (1 + slack); ∞ is a miss."""
        limit = target + slack * abs(target)
        hits = (i for i, loss in zip(self.iterations, self.train_loss, strict=True) if loss <= limit)
        return next(hits, math.inf)


def compare(cell: str, before: Outcome, now: Outcome, targets: Sequence[float], tolerance: float) -> list[Finding]:
    """Every measure of a cell.

    Args:
        cell: as people name it.
        before: the outcome in the baseline.
        now: that of the present sources.
        targets: training losses to reach.
        tolerance: relative change of a loss that is allowed; multiples of it for what varies more.

    """
    findings = [_finding(cell, "ends without diverging", _ended(before), _ended(now), 0.0)]
    findings += [_to_target(cell, target, before, now, tolerance) for target in targets]
    for name, olds, news in (
        ("training loss", before.train_loss, now.train_loss),
        ("test loss", before.test_loss, now.test_loss),
    ):
        findings += _checkpoints(cell, name, (before.iterations, olds), (now.iterations, news), tolerance)
    for layer in {**before.fisher, **now.fisher}:
        old, new = before.fisher.get(layer), now.fisher.get(layer)
        name = f"Fisher error of {layer}"
        if old is not None and new is not None:
            findings.append(_finding(cell, name, old, new, FISHER * tolerance))
        else:
            verdict = Verdict.NEW if old is None else Verdict.INCOMPARABLE
            note = "" if old is None else "no longer measured"
            findings.append(Finding(Channel.DETERMINISTIC, cell, name, old, new, None, 0.0, verdict, note=note))
    if before.operations is not None and now.operations is not None:
        counts = before.operations, now.operations
        findings.append(_finding(cell, "operations per iteration", *counts, OPERATIONS * tolerance))
    return findings


def _ended(outcome: Outcome) -> float:
    return 1.0 if outcome.status == "done" else math.inf


def _finding(cell: str, measure: str, before: float, now: float, allowed: float, note: str = "") -> Finding:
    change = relative_change(before, now)
    verdict = judged(change, allowed)
    return Finding(Channel.DETERMINISTIC, cell, measure, before, now, change, allowed, verdict, note=note)


def to_target(before: Outcome, now: Outcome, target: float, tolerance: float) -> Verdict:
    """Later is worse unless the loss is within tolerance of the target in time."""
    if now.iterations_to(target, tolerance) > before.iterations_to(target):
        return Verdict.WORSE
    if before.iterations_to(target, tolerance) > now.iterations_to(target):
        return Verdict.BETTER
    return Verdict.SAME


def _to_target(cell: str, target: float, before: Outcome, now: Outcome, tolerance: float) -> Finding:
    """Iterations to a loss."""
    old, new = before.iterations_to(target), now.iterations_to(target)
    change, verdict = relative_change(old, new), to_target(before, now, target, tolerance)
    measure = f"iterations to {target:g}"
    return Finding(Channel.DETERMINISTIC, cell, measure, old, new, change, tolerance, verdict)


_Losses = tuple[tuple[int, ...], tuple[float, ...]]


def _checkpoints(cell: str, name: str, before: _Losses, now: _Losses, tolerance: float) -> Iterator[Finding]:
    """One finding: the checkpoint that got worse the most, else the one that got better the most."""
    olds, news = dict(zip(*before, strict=True)), dict(zip(*now, strict=True))
    common = [iteration for iteration in olds if iteration in news]
    if not common:
        verdict, note = Verdict.INCOMPARABLE, "no checkpoint in common"
        yield Finding(Channel.DETERMINISTIC, cell, name, None, None, None, tolerance, verdict, note=note)
        return
    changes = {i: relative_change(olds[i], news[i]) for i in common}
    worst, best = (choose(common, key=changes.__getitem__) for choose in (max, min))
    at = worst if changes[worst] > tolerance or changes[best] >= -tolerance else best
    if at == worst and changes[worst] <= 0:
        at = common[-1]
    yield _finding(cell, name, olds[at], news[at], tolerance, f"at iteration {at}")
