"""What a natural-gradient method does in an iteration, part by part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from kfsvd.approximations.singular_pairs import SingularPairs
from kfsvd.optimizers.two_level import POOLED
from suite.cost import coarse, fitting, inverting, propagation, secant, singular_pairs, updating
from suite.cost.operations import elementwise, repeated
from suite.cost.work import Work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from suite.cost.operations import Operation
    from suite.cost.options import NaturalGradientOptions
    from suite.cost.shapes import LayerShape, NetworkShape

KEPT = 30
"""Directions of each side that a low-rank inverse is assumed to keep if no number is given."""

Kept = int | float | Mapping[str, tuple[int, int]]


def natural_gradient(
    shape: NetworkShape, options: NaturalGradientOptions, batch: int, kept: Kept | None
) -> Iterable[Work]:
    """An iteration of a natural-gradient method beside its passes through the network.

    Args:
        shape: of the network.
        options: of the method.
        batch: examples of an iteration.
        kept: as in `step_cost`.

    Raises:
        ValueError: `kept` is negative or names no ranks of a layer.

    """
    ranks = _ranks(shape, kept)
    sampled = _Sampled.of(shape, options, batch)
    yield from sampled.works(shape)
    for layer in shape.layers:
        fitted = fitting.fitting(layer, options.approximation, options.averaging, sampled.number, options.decay)
        yield Work("curvature", f"fit of layer {layer}", fitted, sampled.every)
    pooled = sampled.number * (fitting.window(sampled.number, options.decay) if options.averaging == "samples" else 1)
    yield Work("update", "a look at the gradients", updating.finite(shape.parameters))
    if options.joint:
        gram = inverting.woodbury(shape.layers, pooled)
        yield Work("inversion", f"Gram matrix of {pooled:,} samples", gram, options.inverse_every)
    inverses = {layer: _inverse(layer, options, pooled, ranks[layer.name]) for layer in shape.layers}
    for layer, inverse in inverses.items():
        if not options.joint:
            yield Work("inversion", f"inverse of layer {layer}", inverse.prepared, options.inverse_every)
        yield Work("update", f"preconditioning products of layer {layer}", inverse.applied)
        moved = updating.moved(layer.numbers, decayed=options.decayed)
        step = [*inverse.added, *moved, *_scaled(layer, options, inverse)]
        yield Work("update", f"momentum and step of layer {layer}", step)
    if options.approximation.name in BESIDE:
        yield from BESIDE[options.approximation.name](shape, options, sampled, inverses)
    if shape.others:
        others = updating.adam(shape.others, decayed=options.decayed)
        yield Work("update", "Adam's passes over other parameters", others)


class _Sampled(NamedTuple):
    """A curvature batch.

    Args:
        examples: of the batch.
        labels: of an example.
        drawn: whether they are drawn from the outputs.
        every: iterations between batches.

    """

    examples: int
    labels: int
    drawn: bool
    every: int

    @classmethod
    def of(cls, shape: NetworkShape, options: NaturalGradientOptions, batch: int) -> _Sampled:
        """That of a method's options."""
        fisher = options.batch.fisher
        labels = {"monte_carlo": options.batch.labels, "exact": shape.outputs}.get(fisher, 1)
        return cls(options.batch.of(batch), labels, fisher == "monte_carlo", options.statistics_every)

    @property
    def number(self) -> int:
        """The number of samples (a, g)."""
        return self.examples * self.labels

    def works(self, shape: NetworkShape, when: str = "") -> Iterable[Work]:
        """Taking the samples of every layer.

        Args:
            shape: of the network.
            when: added to the names.

        """
        drawn = propagation.sampling(shape, self.examples, self.labels, drawn=self.drawn)
        yield Work("curvature", f"labels and activations of the curvature batch{when}", drawn, self.every)
        for layer in shape.layers:
            captured = propagation.capture(layer, self.examples, self.labels)
            yield Work("curvature", f"samples of layer {layer}{when}", captured, self.every)


class _Inverse(NamedTuple):
    """A layer's damped inverse.

    Args:
        prepared: what preparing it takes.
        applied: Δ of a gradient, and its slope.
        formed: Δ as a matrix, where it is made of thin factors.
        added: Δ added to the momentum.

    """

    prepared: list[Operation]
    applied: list[Operation]
    formed: list[Operation]
    added: list[Operation]


def _inverse(layer: LayerShape, options: NaturalGradientOptions, samples: int, kept: tuple[int, int]) -> _Inverse:
    rank, rule, added = options.rank, options.rule, inverting.add_dense(layer)
    if options.approximation.name in inverting.OTHER_FORMS:
        prepared, applied = inverting.OTHER_FORMS[options.approximation.name](layer, samples)
        return _Inverse(prepared, applied, [], added)
    prepared = inverting.dense(layer, rank, rule)
    if options.low_rank and not inverting.is_small(layer, rank):
        found = inverting.low_rank(layer, rank, kept)
        if inverting.is_low_rank(layer, rank, kept):
            applied, thin = inverting.apply_low_rank(layer, rank, kept), inverting.add_low_rank(layer, kept)
            if options.coarse:  # a correction is added to Δ as a matrix
                return _Inverse(found, [*applied, *thin[1:]], [], added)
            return _Inverse(found, applied, thin[1:], thin)
        prepared = [*found, *prepared]
    return _Inverse(prepared, inverting.apply_dense(layer, rank, rule), [], added)


def _scaled(layer: LayerShape, options: NaturalGradientOptions, inverse: _Inverse) -> list[Operation]:
    """What the step rule costs: nothing to speak of, or lengths of the direction and of what it is grafted on."""
    if options.step_rule not in ("adam_norm", "sgd_norm"):
        return []
    length = updating.moments_length(layer.numbers) if options.step_rule == "adam_norm" else []
    return [*inverse.formed, *length, elementwise(2 * layer.numbers, 2)]


def _learning(
    shape: NetworkShape,
    _options: NaturalGradientOptions,
    sampled: _Sampled,
    _inverses: Mapping[LayerShape, _Inverse],
) -> Iterable[Work]:
    """K-BFGS: a second look at the batch after the step, and the updates of both inverses."""
    yield from sampled.works(shape, " after the step")
    for layer in shape.layers:
        learned = secant.learning(layer, sampled.number)
        yield Work("curvature", f"BFGS updates of layer {layer}", learned, sampled.every)


def _correction(
    shape: NetworkShape,
    options: NaturalGradientOptions,
    sampled: _Sampled,
    inverses: Mapping[LayerShape, _Inverse],
) -> Iterable[Work]:
    """Two-level KFAC: the last batches joined, and a correction of every step across layers."""
    batches, vectors = POOLED if options.decay > 0 else 1, options.coarse_vectors
    samples = batches * sampled.number
    for layer, inverse in inverses.items():
        joined = fitting.merged(layer, sampled.number, batches)
        yield Work("curvature", f"last samples of layer {layer}", joined, sampled.every)
        if options.coarse == "spectral":
            basis = coarse.spectral_basis(layer, vectors)
            yield Work("inversion", f"coarse vectors of layer {layer}", basis, options.inverse_every)
        products = coarse.fisher_product(layer, samples)  # (F + λI)y and (F + λI)Δ; of Krylov spaces every image
        images = vectors - 1 if options.coarse == "krylov" else 0
        powers = repeated([*inverse.applied, *products], images)
        corrected = [*products * 2, *powers, *coarse.coarse_part(layer, samples, vectors)]
        yield Work("update", f"coarse correction of layer {layer}", corrected)
    system = coarse.coarse_system(vectors * len(shape.layers), samples)
    yield Work("update", "coarse system", system)


BESIDE: dict[
    str,
    Callable[[NetworkShape, NaturalGradientOptions, _Sampled, Mapping[LayerShape, _Inverse]], Iterable[Work]],
] = {"kbfgs": _learning, "two_level_kfac": _correction}
"""By the approximation's name, what a method does beside what all do."""


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


def assumptions(options: NaturalGradientOptions, kept: Kept | None) -> list[str]:
    """What the data would decide."""
    found = []
    if options.low_rank:
        number = f"{KEPT if kept is None else kept}" if not isinstance(kept, Mapping) else "the given"
        found.append(f"low-rank inverses keep {number} directions a side, and find them in one step from the past ones")
    if isinstance(options.approximation, SingularPairs):
        first, later, krylov = (
            singular_pairs.FIRST_ITERATIONS,
            singular_pairs.LATER_ITERATIONS,
            singular_pairs.KRYLOV_STEPS,
        )
        counts = f"{first} for the leading one, {later} for a later one matrix-free"
        found.append(f"iterations to a singular pair: {counts}, {krylov} blocks of Lanczos on wide Gram matrices")
    if options.rule == "exact" and options.rank > 1:
        found.append(f"conjugate gradients take {inverting.GRADIENT_ITERATIONS} iterations")
    return found
