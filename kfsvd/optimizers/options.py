"""The options that all natural-gradient optimizers share, and what values they may take."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Literal, TypedDict, get_args

from kfsvd.inverse.damping import DampingRule, Guard
from kfsvd.network.capture import FisherType
from kfsvd.optimizers.intervals import Interval

if TYPE_CHECKING:
    from kfsvd.approximations import Approximation
    from kfsvd.approximations.base import Averaging

StepRule = Literal["kl_clip", "quadratic_model", "adam_norm", "sgd_norm", "none"]
Inverse = Literal["dense", "low_rank"]


class Options(TypedDict, total=False):
    """The options that all natural-gradient optimizers share; `NaturalGradient` says what each means."""

    lr: float | None
    momentum: float
    weight_decay: float
    damping: float
    damping_rule: DampingRule | None
    damping_pi: float
    damping_floor: float
    inverse: Inverse
    inverse_tolerance: float | None
    refresh_every: int | str
    statistics_every: int | str | None
    inverse_every: int | str | None
    refresh_tolerance: float
    curvature_batch: float
    fisher: FisherType
    fisher_samples: int
    averaging: Averaging
    decay: float
    guard: Guard
    step_rule: StepRule
    kl_clip: float
    fallback_lr: float
    seed: int


_NOT_NEGATIVE = ("lr", "momentum", "weight_decay", "decay", "fallback_lr", "refresh_tolerance")
_POSITIVE = ("damping", "damping_pi", "damping_floor", "curvature_batch", "kl_clip", "inverse_tolerance")
_BELOW_ONE = ("momentum", "decay")
_AT_LEAST_ONE = ("fisher_samples",)
_INTERVALS = ("refresh_every", "statistics_every", "inverse_every")


def check_options(approximation: Approximation, **options: Any) -> None:
    """Raise a ValueError that names the first option out of range, with its value; None is no value.

    Args:
        approximation: whose damping rules and inverses there are.
        options: by name, as in `Options`.

    """
    for names, holds, bound in (
        (_NOT_NEGATIVE, operator.ge, 0),
        (_POSITIVE, operator.gt, 0),
        (_BELOW_ONE, operator.lt, 1),
        (_AT_LEAST_ONE, operator.ge, 1),
    ):
        for name in names:
            value = options[name]
            if value is not None and not holds(value, bound):
                raise ValueError(f"invalid {name}: {value}")
    for name in _INTERVALS:
        if options[name] is not None:
            try:
                Interval.of(options[name])
            except ValueError as error:
                raise ValueError(f"{name} {error}") from None
    for name, choices in (
        ("damping_rule", approximation.damping_rules),
        ("guard", get_args(Guard)),
        ("fisher", get_args(FisherType)),
        ("step_rule", get_args(StepRule)),
        ("inverse", approximation.inverses),
    ):
        if options[name] is not None and options[name] not in choices:
            raise ValueError(f"{name} must be one of {', '.join(choices)}; got {options[name]!r}")
    if options["inverse"] == "low_rank" and options["damping_rule"] == "exact":
        raise ValueError("a low-rank inverse takes a factored damping_rule; got 'exact'")
