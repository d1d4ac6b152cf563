"""Seconds of an iteration of a method on a network, by phases and by named parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from suite.cost import propagation, updating
from suite.cost.matrices import STEPS, matrix_method
from suite.cost.natural_gradient import assumptions, natural_gradient
from suite.cost.options import (
    FIRST_ORDER,
    first_order_options,
    matrix_options,
    natural_gradient_options,
    natural_gradients,
)
from suite.cost.rates import Rates, calibrate
from suite.cost.shapes import NetworkShape, network_shape
from suite.cost.work import Work

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import nn

    from suite.cost.natural_gradient import Kept

PHASES = ("forward_backward", "curvature", "inversion", "update")
"""Where the time of an iteration goes."""


class Term(NamedTuple):
    """A named part of an iteration.

    Args:
        phase: one of `PHASES`.
        name: of the part.
        seconds: of an iteration; those of a refresh are spread over the iterations between refreshes.

    """

    phase: str
    name: str
    seconds: float


@dataclass(frozen=True)
class Cost:
    """What an iteration is predicted to take.

    Args:
        terms: its parts.
        assumptions: what was taken for known that depends on data.

    """

    terms: tuple[Term, ...]
    assumptions: tuple[str, ...] = ()

    @property
    def total(self) -> float:
        """Seconds of an iteration, refreshes spread over the iterations between them."""
        return sum(term.seconds for term in self.terms)

    @property
    def phases(self) -> dict[str, float]:
        """Seconds by phase: forward_backward, curvature, inversion and update."""
        return {phase: sum(term.seconds for term in self.terms if term.phase == phase) for phase in PHASES}

    @property
    def dominant(self) -> str:
        """The name of the largest term."""
        return max(self.terms, key=lambda term: term.seconds).name


def step_cost(
    model: nn.Module,
    method: str,
    batch: int,
    *,
    example: Sequence[int] | None = None,
    kept: Kept | None = None,
    rates: Rates | None = None,
    **options: Any,
) -> Cost:
    """Predict what an iteration of a method takes, from shapes alone; no weight is read and nothing trained.

    Args:
        model: the network, on any device, also meta. Its linear layers and convolutions, and what its other modules
            put out, are counted; functions called in a `forward` are not.
        method: "sgd", "adam", or an optimizer of `kfsvd` by the name that specifications give it.
        batch: examples of an iteration.
        example: the shape of one example; if None, the width of the first layer, which must be linear then.
        kept: directions that a low-rank inverse keeps on each side: a number, a share of the width below 1, or both
            sides' (input, output) numbers by the layer's name, as `ranks` of the optimizer's `inverses()` gives them;
            if None, 30. No more than the width.
        rates: of the machine, by `calibrate`; measured now if None.
        options: of the method, as its optimizer takes them. Schedules count with their last stage.

    Raises:
        TypeError: the method has no such option.
        ValueError: no cost is known of the method, or of an option's value, as of `step_rule="quadratic_model"`; an
            option or `kept` is out of range; or the model's shapes cannot be found.

    """
    if batch < 1:
        raise ValueError(f"batch must be at least 1; got {batch}")
    shape = network_shape(model, example)
    works = [
        Work(
            "forward_backward", f"forward and backward products of layer {la}", propagation.forward_backward(la, batch)
        )
        for la in shape.layers
    ]
    works.append(Work("forward_backward", "activations and loss", propagation.activations_and_loss(shape, batch)))
    assumed: list[str] = []
    if method in FIRST_ORDER:
        works.append(_first_order(method, shape, first_order_options(method, options)))
    elif method in STEPS:
        works += matrix_method(method, shape, matrix_options(method, options))
    elif method in natural_gradients():
        chosen = natural_gradient_options(method, options)
        works += natural_gradient(shape, chosen, batch, kept)
        assumed = assumptions(chosen, kept)
    else:
        raise ValueError(f"no cost is known of {method}; it is of {', '.join(known_methods())}")
    rates = calibrate() if rates is None else rates
    return Cost(tuple(_term(work, rates) for work in works), tuple(assumed))


def known_methods() -> list[str]:
    """The methods whose cost is known."""
    return [*FIRST_ORDER, *natural_gradients(), *STEPS]


def _first_order(method: str, shape: NetworkShape, options: Mapping[str, Any]) -> Work:
    decayed = options["weight_decay"] > 0
    if method == "adam":
        return Work("update", "Adam's passes over the parameters", updating.adam(shape.parameters, decayed=decayed))
    momentum = options["momentum"] > 0
    sgd = updating.sgd(shape.parameters, momentum=momentum, decayed=decayed)
    return Work("update", "SGD's passes over the parameters", sgd)


def _term(work: Work, rates: Rates) -> Term:
    """Seconds an iteration."""
    return Term(work.phase, work.name, sum(rates.seconds(op) for op in work.operations) / work.every)
