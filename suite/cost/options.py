"""The options of a method, as far as its cost depends on them; the optimizers' own checks hold here too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kfsvd.approximations import APPROXIMATIONS, approximation
from kfsvd.averaging import RunningCurvature
from kfsvd.optimizers import entries
from kfsvd.optimizers.natural_gradient import check_forms
from kfsvd.options.declare import completed, declared
from kfsvd.options.intervals import Interval
from kfsvd.options.objects import LowRank
from suite.cost.fitting import FITS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kfsvd.approximations import Approximation
    from kfsvd.options.objects import CurvatureBatch, Damping, KLClip, Refresh

FIRST_ORDER: dict[str, dict[str, Any]] = {
    "sgd": {"lr": 1e-3, "momentum": 0.0, "weight_decay": 0.0},
    "adam": {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0},
}
"""Torch's own optimizers by name, with the options that are known here."""


@dataclass(frozen=True)
class NaturalGradientOptions:
    """What the cost of a natural-gradient method depends on; `NaturalGradient` says what each means."""

    approximation: Approximation
    damping: Damping
    inverse: str | LowRank
    refresh: Refresh
    batch: CurvatureBatch
    averaging: str
    decay: float
    step_rule: str | KLClip
    decayed: bool
    joint: bool  # one inverse over all layers

    @property
    def rank(self) -> int:
        """The number of Kronecker products."""
        return self.approximation.products or 1

    @property
    def rule(self) -> str:
        """How λ enters."""
        return self.damping.rule or self.approximation.damping_rules[0]

    @property
    def low_rank(self) -> bool:
        """Whether inverses are of low rank."""
        return isinstance(self.inverse, LowRank)

    @property
    def statistics_every(self) -> int:
        """Iterations between curvature batches; a schedule counts with its last stage."""
        return _last(self.refresh.every if self.refresh.statistics is None else self.refresh.statistics)

    @property
    def inverse_every(self) -> int:
        """Iterations between inverses; a schedule counts with its last stage."""
        return _last(self.refresh.every if self.refresh.inverse is None else self.refresh.inverse)


def natural_gradients() -> list[str]:
    """The natural-gradient methods whose cost is known: the operations of their fit are counted."""
    return [name for name, entry in entries().items() if entry.approximation in {*FITS, "exact"}]


def first_order_options(method: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """All options of "sgd" or "adam".

    Raises:
        ValueError: it has no such option.

    """
    known = FIRST_ORDER[method]
    for name in options:
        if name not in known:
            raise ValueError(f"{method} has no option {name!r}; it has {', '.join(known)}")
    return {**known, **options}


def natural_gradient_options(method: str, options: Mapping[str, Any]) -> NaturalGradientOptions:
    """All options of a natural-gradient method that its cost depends on.

    Raises:
        TypeError: there is no such option.
        ValueError: there is no such method, an option is out of range, or the cost is not known with it.

    """
    known = ", ".join([*FIRST_ORDER, *natural_gradients()])
    if method not in entries():
        raise ValueError(f"method must be one of {known}; got {method!r}")
    if method not in natural_gradients():
        raise ValueError(f"no cost is known of {method}; it is of {known}")
    entry = entries()[method]
    own = declared(APPROXIMATIONS[entry.approximation])
    made = approximation(entry.approximation, **{name: value for name, value in options.items() if name in own})
    rest = {name: value for name, value in options.items() if name not in own}
    chosen = completed(method, entry.options, rest, entry.defaults)
    check_forms(made, chosen["damping"], chosen["inverse"])
    RunningCurvature(made, chosen["averaging"], chosen["decay"])
    if chosen["step_rule"] == "quadratic_model":
        raise ValueError("no cost is known of step_rule='quadratic_model': it differentiates the model forward")
    return NaturalGradientOptions(
        approximation=made,
        damping=chosen["damping"],
        inverse=chosen["inverse"],
        refresh=chosen["refresh_every"],
        batch=chosen["curvature_batch"],
        averaging=chosen["averaging"],
        decay=chosen["decay"],
        step_rule=chosen["step_rule"],
        decayed=chosen["weight_decay"] > 0,
        joint=chosen.get("blocks") == "network",
    )


def _last(every: int | str) -> int:
    return Interval.of(every).stages[-1][1]
