"""Seconds of an iteration of a method on a network, by phases and by named parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from kfsvd.approximations.singular_pairs import SingularPairs
from kfsvd.averaging import WINDOW
from suite.cost import fitting, inverting, propagation, updating
from suite.cost.operations import elementwise
from suite.cost.options import (
    FIRST_ORDER,
    NaturalGradientOptions,
    first_order_options,
    natural_gradient_options,
)
from suite.cost.rates import Rates, calibrate
from suite.cost.shapes import NetworkShape, network_shape

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import nn

    from suite.cost.operations import Operation
    from suite.cost.shapes import LayerShape

PHASES = ("forward_backward", "curvature", "inversion", "update")
"""Where the time of an iteration goes."""

KEPT = 30
"""Directions of each side that a low-rank inverse is taken to keep where nothing is said of it."""

Kept = int | float | Mapping[str, tuple[int, int]]


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
        method: "sgd", "adam", or a natural-gradient method whose cost is known.
        batch: examples of an iteration.
        example: the shape of one example; if None, the width of the first layer, which must be linear then.
        kept: directions that a low-rank inverse keeps on each side: a number, a share of the width below 1, or both
            sides' (input, output) numbers by the layer's name, as `ranks` of the optimizer's `inverses()` gives them;
            if None, 30. No more than the width.
        rates: of the machine, by `calibrate`; measured now if None.
        options: of the method, as its optimizer takes them. Schedules count with their last stage.

    Raises:
        ValueError: the method, an option or `kept` is not known or out of range; the model's shapes cannot be found;
            or the cost is not known, as of `step_rule="quadratic_model"`.

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
    assumptions: list[str] = []
    if method in FIRST_ORDER:
        works.append(_first_order(method, shape, first_order_options(method, options)))
    else:
        chosen = natural_gradient_options(method, options)
        works += _natural_gradient(shape, chosen, batch, _ranks(shape, kept))
        assumptions = _assumptions(chosen, kept)
    rates = calibrate() if rates is None else rates
    return Cost(tuple(work.term(rates) for work in works), tuple(assumptions))


class Work(NamedTuple):
    """Operations of a named part, done at every so many iterations."""

    phase: str
    name: str
    operations: list[Operation]
    every: int = 1

    def term(self, rates: Rates) -> Term:
        """Seconds an iteration."""
        return Term(self.phase, self.name, sum(rates.seconds(op) for op in self.operations) / self.every)


def _first_order(method: str, shape: NetworkShape, options: Mapping[str, Any]) -> Work:
    decayed = options["weight_decay"] > 0
    if method == "adam":
        return Work("update", "Adam's passes over the parameters", updating.adam(shape.parameters, decayed=decayed))
    momentum = options["momentum"] > 0
    sgd = updating.sgd(shape.parameters, momentum=momentum, decayed=decayed)
    return Work("update", "SGD's passes over the parameters", sgd)


def _natural_gradient(
    shape: NetworkShape, options: NaturalGradientOptions, batch: int, ranks: Mapping[str, tuple[int, int]]
) -> Iterable[Work]:
    examples, fisher = options.batch.of(batch), options.batch.fisher
    labels = {"monte_carlo": options.batch.labels, "exact": shape.outputs}.get(fisher, 1)
    samples, every = examples * labels, options.statistics_every
    drawn = propagation.sampling(shape, examples, labels, drawn=fisher == "monte_carlo")
    yield Work("curvature", "labels and activations of the curvature batch", drawn, every)
    for layer in shape.layers:
        taken = propagation.capture(layer, examples, labels)
        yield Work("curvature", f"samples of layer {layer}", taken, every)
        fitted = fitting.fitting(layer, options.approximation, options.averaging, samples, options.decay)
        yield Work("curvature", f"fit of layer {layer}", fitted, every)
    pooled = samples * (max(1, WINDOW // samples) if options.averaging == "samples" and options.decay > 0 else 1)
    yield Work("update", "a look at the gradients", updating.finite(shape.parameters))
    if options.joint:
        gram = inverting.woodbury(shape.layers, pooled)
        yield Work("inversion", f"Gram matrix of {pooled:,} samples", gram, options.inverse_every)
    for layer in shape.layers:
        prepared, applied, added = _inverse(layer, options, pooled, ranks[layer.name])
        if not options.joint:
            yield Work("inversion", f"inverse of layer {layer}", prepared, options.inverse_every)
        yield Work("update", f"preconditioning products of layer {layer}", applied)
        step = [*added, *updating.moved(layer.numbers, decayed=options.decayed), *_scaled(layer, options, ranks)]
        yield Work("update", f"momentum and step of layer {layer}", step)
    if shape.others:
        yield Work("update", "Adam's passes over other parameters", updating.adam(shape.others, decayed=False))


def _inverse(
    layer: LayerShape, options: NaturalGradientOptions, samples: int, kept: tuple[int, int]
) -> tuple[list[Operation], list[Operation], list[Operation]]:
    """Preparing it, applying it, and adding its direction to the momentum."""
    rank, rule, added = options.rank, options.rule, inverting.add_dense(layer)
    if options.approximation.name == "exact":
        return inverting.woodbury([layer], samples), inverting.apply_woodbury(layer, samples), added
    if options.approximation.name == "ekfac":  # its eigenvectors are there already
        passes = [elementwise(6 * layer.numbers, 2)]
        return passes, inverting.apply_dense(layer, 1, "exact"), added
    prepared = inverting.dense(layer, rank, rule)
    if options.low_rank and not inverting.is_small(layer, rank):
        found = inverting.low_rank(layer, rank, kept)
        if inverting.is_low_rank(layer, rank, kept):
            return found, inverting.apply_low_rank(layer, rank, kept), inverting.add_low_rank(layer, kept)
        prepared = [*found, *prepared]
    return prepared, inverting.apply_dense(layer, rank, rule), added


def _scaled(
    layer: LayerShape, options: NaturalGradientOptions, ranks: Mapping[str, tuple[int, int]]
) -> list[Operation]:
    """What the step rule costs: nothing to speak of, or lengths of the direction and of what it is grafted on."""
    if options.step_rule not in ("adam_norm", "sgd_norm"):
        return []
    kept = ranks[layer.name]
    thin = options.low_rank and inverting.is_low_rank(layer, options.rank, kept)
    formed = inverting.add_low_rank(layer, kept)[1:] if thin else []
    length = updating.moments_length(layer.numbers) if options.step_rule == "adam_norm" else []
    return [*formed, *length, elementwise(2 * layer.numbers, 2)]


def _ranks(shape: NetworkShape, kept: Kept | None) -> dict[str, tuple[int, int]]:
    """Both sides' directions by layer."""
    if isinstance(kept, Mapping):
        unknown = [la.name for la in shape.layers if la.name not in kept]
        if unknown:
            raise ValueError(f"kept names no ranks of layer {unknown[0]!r}")
        given = {la.name: kept[la.name] for la in shape.layers}
    else:
        number = KEPT if kept is None else kept
        if number < 0:
            raise ValueError(f"kept must not be negative; got {number}")
        widths = {la.name: (la.d_in, la.d_out) for la in shape.layers}
        given = {
            name: (round(number * i), round(number * o)) if 0 < number < 1 else (round(number), round(number))
            for name, (i, o) in widths.items()
        }
    return {la.name: (min(given[la.name][0], la.d_in), min(given[la.name][1], la.d_out)) for la in shape.layers}


def _assumptions(options: NaturalGradientOptions, kept: Kept | None) -> list[str]:
    """What the data would decide."""
    found = []
    if options.low_rank:
        number = f"{KEPT if kept is None else kept}" if not isinstance(kept, Mapping) else "the given"
        found.append(f"low-rank inverses keep {number} directions a side, and find them in one step from the past ones")
    if isinstance(options.approximation, SingularPairs):
        first, later, krylov = fitting.FIRST_ITERATIONS, fitting.LATER_ITERATIONS, fitting.KRYLOV_STEPS
        counts = f"{first} for the leading one, {later} for a later one matrix-free"
        found.append(f"iterations to a singular pair: {counts}, {krylov} blocks of Lanczos on wide Gram matrices")
    if options.rule == "exact" and options.rank > 1:
        found.append(f"conjugate gradients take {inverting.GRADIENT_ITERATIONS} iterations")
    return found
