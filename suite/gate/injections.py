"""Regressions made on purpose, as wrappers around an optimizer: what the gate's self-test has to catch."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

from suite.gate.verdicts import Channel

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.optim import Optimizer

DELAY = 0.1
"""Share of an iteration that a slow step adds to it."""

DAMPING = 100.0
"""What a wrong damping is multiplied by."""


@dataclass(frozen=True)
class Injection:
    """A regression on purpose.

    Args:
        what: in words.
        channel: the one that has to catch it.
        apply: makes it, on an optimizer that has not stepped yet.

    """

    what: str
    channel: Channel
    apply: Callable[[Optimizer], None]


def slow_step(optimizer: Optimizer) -> None:
    """Every step of a natural-gradient optimizer waits for a tenth of its iteration so far.

    It waits awake: a step of a millisecond would have to sleep for less than the clock of a scheduler ticks.
    """
    from kfsvd import NaturalGradient

    if not isinstance(optimizer, NaturalGradient):
        return  # Adam is what the others are counted in
    begun = perf_counter()
    zero_grad, step = optimizer.zero_grad, optimizer.step

    def beginning(*arguments: Any, **options: Any) -> None:
        nonlocal begun
        begun = perf_counter()
        zero_grad(*arguments, **options)

    def slower(*arguments: Any, **options: Any) -> Any:
        result = step(*arguments, **options)
        now = perf_counter()
        end = now + DELAY * (now - begun)
        while perf_counter() < end:
            pass
        return result

    optimizer.zero_grad, optimizer.step = beginning, slower  # type: ignore[method-assign]


def wrong_damping(optimizer: Optimizer) -> None:
    """λ a hundred times too large, as where one that was chosen for a mean over pixels is used for their sum."""
    for group in optimizer.param_groups:
        if "damping" in group:
            group["damping"] *= DAMPING


def broken_refresh(optimizer: Optimizer) -> None:
    """The curvature of the first batch for ever: nothing is due again after the first step."""
    from kfsvd import NaturalGradient
    from kfsvd.options.intervals import Interval

    if isinstance(optimizer, NaturalGradient):
        optimizer.statistics_every = optimizer.inverse_every = Interval.of(10**9)


INJECTIONS = {
    "slow-step": Injection("a step slower by 10 %", Channel.CLOCK, slow_step),
    "wrong-damping": Injection("damping 100 times too large", Channel.DETERMINISTIC, wrong_damping),
    "broken-refresh": Injection("a curvature that is never renewed", Channel.DETERMINISTIC, broken_refresh),
}
