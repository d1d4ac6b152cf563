"""The options of a method, as far as its cost depends on them; the optimizers' own checks hold here too."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from kfsvd.approximations import APPROXIMATIONS, approximation
from kfsvd.averaging import RunningCurvature
from kfsvd.optimizers import OPTIMIZERS, NaturalGradient
from kfsvd.optimizers.intervals import Interval
from kfsvd.optimizers.options import check_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kfsvd.approximations import Approximation

FIRST_ORDER: dict[str, dict[str, Any]] = {
    "sgd": {"lr": 1e-3, "momentum": 0.0, "weight_decay": 0.0},
    "adam": {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0},
}
"""Torch's own optimizers by name, with the options that are known here."""
KNOWN = ("kfac", "kpsvd", "deflation", "lanczos", "kfac_corrected", "tkfac", "ekfac", "exact")
"""The methods in `kfsvd.optimizers.OPTIMIZERS` whose cost is known."""

_EXACT = {"blocks": "network", "averaging": "samples", "decay": 0.0, "curvature_batch": 1.0}


@dataclass(frozen=True)
class NaturalGradientOptions:
    """What the cost of a natural-gradient method depends on; `NaturalGradient` says what each means."""

    approximation: Approximation
    rule: str
    inverse: str
    statistics_every: int
    inverse_every: int
    curvature_batch: float
    fisher: str
    fisher_samples: int
    averaging: str
    decay: float
    step_rule: str
    decayed: bool
    joint: bool  # one inverse over all layers

    @property
    def rank(self) -> int:
        """The number of Kronecker products."""
        return getattr(self.approximation, "rank", 1)

    def examples(self, batch: int) -> int:
        """Of a curvature batch."""
        share = self.curvature_batch * batch if self.curvature_batch <= 1 else self.curvature_batch
        return min(batch, max(1, round(share)))


def first_order_options(method: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """All options of "sgd" or "adam".

    Raises:
        ValueError: it has no such option.

    """
    _known(method, options, FIRST_ORDER[method])
    return {**FIRST_ORDER[method], **options}


def natural_gradient_options(method: str, options: Mapping[str, Any]) -> NaturalGradientOptions:
    """All options of a method in `kfsvd.optimizers.OPTIMIZERS` that its cost depends on.

    Raises:
        ValueError: there is no such method or option, an option is out of range, or the cost is not known with it.

    """
    if method in OPTIMIZERS and method not in KNOWN:
        raise ValueError(f"no cost is known of {method}")
    if method not in OPTIMIZERS:
        raise ValueError(f"method must be one of {', '.join([*FIRST_ORDER, *KNOWN])}; got {method!r}")
    own = [field.name for field in fields(APPROXIMATIONS[method])]
    shared = {
        name: parameter.default
        for name, parameter in inspect.signature(NaturalGradient.__init__).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
    shared |= _EXACT if method == "exact" else {}
    _known(method, options, [*own, *shared])
    made = approximation(method, **{name: value for name, value in options.items() if name in own})
    given = shared | {name: value for name, value in options.items() if name not in own}
    check_options(made, **{n: v for n, v in given.items() if n not in ("averaging", "seed", "blocks")})
    RunningCurvature(made, given["averaging"], given["decay"])
    if given["step_rule"] == "quadratic_model":
        raise ValueError("no cost is known of step_rule='quadratic_model': it differentiates the model forward")

    def interval(name: str) -> int:
        every = given["refresh_every"] if given[name] is None else given[name]
        return Interval.of(every).stages[-1][1]

    return NaturalGradientOptions(
        approximation=made,
        rule=given["damping_rule"] or made.damping_rules[0],
        inverse=given["inverse"],
        statistics_every=interval("statistics_every"),
        inverse_every=interval("inverse_every"),
        curvature_batch=given["curvature_batch"],
        fisher=given["fisher"],
        fisher_samples=given["fisher_samples"],
        averaging=given["averaging"],
        decay=given["decay"],
        step_rule=given["step_rule"],
        decayed=given["weight_decay"] > 0,
        joint=given.get("blocks") == "network",
    )


def _known(method: str, options: Mapping[str, Any], known: Any) -> None:
    for name in options:
        if name not in known:
            raise ValueError(f"{method} has no option {name!r}; it has {', '.join(known)}")
