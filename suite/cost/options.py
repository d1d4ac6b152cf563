"""The options of a method, as far as its cost depends on them; the optimizers' own checks hold here too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from kfsvd.approximations import APPROXIMATIONS
from kfsvd.averaging import RunningCurvature
from kfsvd.optimizers import entries, kbfgs, two_level
from kfsvd.optimizers.natural_gradient import check_forms
from kfsvd.options.declare import completed, declared
from kfsvd.options.objects import LowRank
from suite.cost.fitting import FITS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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
    coarse: str  # the coarse space of two-level KFAC
    coarse_vectors: int  # of a layer in it

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
        return self.refresh.statistics_every.last

    @property
    def inverse_every(self) -> int:
        """Iterations between inverses; a schedule counts with its last stage."""
        return self.refresh.inverse_every.last


class _Own(NamedTuple):
    """What an optimizer with an approximation of its own asks of its options."""

    approximation: type[Approximation]
    check: Callable[[Mapping[str, Any]], None]


_OWN = {
    "kbfgs": _Own(kbfgs.Inputs, lambda chosen: kbfgs.check_fisher(chosen["curvature_batch"])),
    "two_level_kfac": _Own(
        two_level.Block, lambda chosen: two_level.check_coarse(chosen["coarse"], chosen["coarse_vectors"])
    ),
}
"""By the method's name, which is the approximation's too."""


def natural_gradients() -> list[str]:
    """The natural-gradient methods whose cost is known: the operations of their fit are counted."""
    return [name for name, entry in entries().items() if (entry.approximation or name) in FITS]


def first_order_options(method: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """All options of "sgd" or "adam".

    Raises:
        TypeError: it has no such option.

    """
    known = FIRST_ORDER[method]
    for name in options:
        if name not in known:
            raise TypeError(f"{method} has no option {name!r}; it has {', '.join(known)}")
    return {**known, **options}


def matrix_options(method: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """All options of a matrix optimizer.

    Raises:
        TypeError: there is no such option.
        ValueError: an option is out of range.

    """
    entry = entries()[method]
    return completed(method, entry.options, options, entry.defaults)


def natural_gradient_options(method: str, options: Mapping[str, Any]) -> NaturalGradientOptions:
    """All options of a natural-gradient method that its cost depends on.

    Raises:
        TypeError: there is no such option.
        ValueError: an option is out of range, or the cost is not known with it.

    """
    entry = entries()[method]
    kind = _OWN[method].approximation if method in _OWN else APPROXIMATIONS[entry.approximation]
    own = declared(kind)
    made = kind(**{name: value for name, value in options.items() if name in own})
    rest = {name: value for name, value in options.items() if name not in own}
    chosen = completed(method, entry.options, rest, entry.defaults)
    check_forms(made, chosen["damping"], chosen["inverse"])
    RunningCurvature(made, chosen["averaging"], chosen["decay"])
    if method in _OWN:
        _OWN[method].check(chosen)
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
        coarse=chosen.get("coarse", ""),
        coarse_vectors=chosen.get("coarse_vectors", 0),
    )
