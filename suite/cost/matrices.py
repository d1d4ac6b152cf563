"""Operations of the optimizers made of gradients alone (`kfsvd.optimizers.matrices`): one function for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from kfsvd.optimizers import MATRIX_OPTIMIZERS
from kfsvd.optimizers.muon import hidden
from kfsvd.options.intervals import Interval
from suite.cost import updating
from suite.cost.operations import (
    BFLOAT16,
    calls,
    eigenpairs,
    elementwise,
    product,
    product_in_bfloat16,
    qr,
    repeated,
)
from suite.cost.work import Work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from suite.cost.operations import Operation
    from suite.cost.shapes import LayerShape, NetworkShape


class MatrixStep(NamedTuple):
    """Operations of one matrix's step."""

    update: Sequence[Operation]
    moments: Sequence[Operation] = ()
    inversion: Sequence[Operation] = ()
    every: int = 1  # iterations between inversions


def matrix_method(method: str, shape: NetworkShape, options: Mapping[str, Any]) -> Iterable[Work]:
    """An iteration of a matrix optimizer beside its passes through the network.

    Args:
        method: a name in `STEPS`.
        shape: of the network.
        options: all of the method.

    Raises:
        ValueError: `hidden_only` of a network without a hidden layer.

    """
    with_bias, decayed = MATRIX_OPTIMIZERS[method].with_bias, options["weight_decay"] > 0
    layers = hidden(shape.layers) if options.get("hidden_only") else shape.layers
    yield Work("update", "a look at the gradients", updating.finite(shape.parameters))
    for layer in layers:
        columns = layer.d_in - (layer.bias and not with_bias)
        step = STEPS[method](layer.d_out, columns, options)
        if step.moments:
            yield Work("curvature", f"moments of layer {layer}", step.moments)
        if step.inversion:
            yield Work("inversion", f"roots or bases of layer {layer}", step.inversion, step.every)
        moved = updating.moved(layer.d_out * columns, decayed=decayed)
        yield Work("update", f"step of layer {layer}", [*step.update, *moved])
    if others := _others(shape, layers, with_bias=with_bias):
        yield Work("update", "AdamW's passes over other parameters", updating.adam(others, decayed=decayed))


def shampoo(rows: int, columns: int, options: Mapping[str, Any]) -> MatrixStep:
    """Inverse roots of both moments by eigendecompositions, and a product with each."""
    means = elementwise(3 * (rows**2 + columns**2), 2)
    roots = [means, *_root(rows), *_root(columns)]
    return MatrixStep(
        _preconditioned(rows, columns, options["step_rule"]),
        _second_moments(rows, columns),
        roots,
        Interval.of(options["inverse_every"]).last,
    )


def shampoo_squared(rows: int, columns: int, options: Mapping[str, Any]) -> MatrixStep:
    """Shampoo, with moments that are scaled by their trace."""
    step = shampoo(rows, columns, options)
    scaled = [elementwise(3 * (rows**2 + columns**2), 2), calls(22)]
    return step._replace(inversion=[*scaled, *step.inversion])


def swan(rows: int, columns: int, options: Mapping[str, Any]) -> MatrixStep:
    """Rows normalised, whitened by a Newton–Schulz iteration, and given back their norm."""
    n, p, q = rows * columns, min(rows, columns), max(rows, columns)
    normalised = [elementwise(24 * n, 10), calls(8)]
    iteration = [*[product(p, p, p)] * 3, elementwise(10 * p**2, 3)]
    white = [product(p, q, p), *repeated(iteration, options["whitening_steps"]), product(p, p, q)]
    return MatrixStep([*normalised, elementwise(6 * p**2, 3), *white, elementwise(8 * n, 4), calls(14)])


def soap(rows: int, columns: int, options: Mapping[str, Any]) -> MatrixStep:
    """Adam's step of the gradient turned into the moments' eigenbasis, and turned back."""
    n = rows * columns
    rotated = [product(rows, rows, columns), product(rows, columns, columns)] * 3  # ∇W, its mean, and the step
    adam = [elementwise(22 * n, 7), calls(3)]
    turned = [*_turned(rows), *_turned(columns), elementwise(6 * n, 2)]
    return MatrixStep([*rotated, *adam], _second_moments(rows, columns), turned, options["refresh_every"])


def muon(rows: int, columns: int, options: Mapping[str, Any]) -> MatrixStep:
    """The momentum, orthogonalised by Newton–Schulz steps in bfloat16."""
    n, p, q = rows * columns, min(rows, columns), max(rows, columns)
    momentum = elementwise((3 + 4 * options["nesterov"]) * n, 1 + options["nesterov"])
    products = [product_in_bfloat16(*dimensions) for dimensions in ((p, q, p), (p, p, p), (p, p, q))]
    iteration = [*products, elementwise(3 * BFLOAT16 * (p**2 + n), 1)]
    cast = elementwise((1 + 5 * BFLOAT16) * n, 3)  # and the norm, and the quotient
    moved = elementwise((2 + 2 + 2 + BFLOAT16 + 2) * n, 4)  # zeros, decayed, added to, and of the other sign
    return MatrixStep([momentum, cast, *repeated(iteration, options["iterations"]), moved, calls(4)])


STEPS: dict[str, Callable[[int, int, Mapping[str, Any]], MatrixStep]] = {
    "shampoo": shampoo,
    "shampoo_squared": shampoo_squared,
    "swan": swan,
    "soap": soap,
    "muon": muon,
}
"""Of one matrix, by the method's name."""


def _second_moments(rows: int, columns: int) -> list[Operation]:
    """G Gᵀ and GᵀG, added to what is there."""
    passes = elementwise(2 * (rows**2 + columns**2), 2)
    return [product(rows, columns, rows), product(columns, rows, columns), passes]


def _root(n: int) -> list[Operation]:
    """(M + εI)^p of an (n, n) matrix."""
    return [*eigenpairs(n), elementwise(3 * n**2), product(n, n, n), calls(4)]


def _preconditioned(rows: int, columns: int, step_rule: str) -> list[Operation]:
    """Shampoo's step, its length and its momentum."""
    n = rows * columns
    step = [product(rows, rows, columns), product(rows, columns, columns), elementwise(5 * n, 2)]
    if step_rule == "none":
        return step
    length = updating.moments_length(n) if step_rule == "adam_norm" else [elementwise(n)]
    return [*step, *length, elementwise(4 * n, 2), calls(3)]


def _turned(n: int) -> list[Operation]:
    """One power step from the basis at hand, sorted, and made orthonormal."""
    return [product(n, n, n), elementwise(5 * n**2, 2), elementwise(3 * n**2), qr(n, n), calls(1)]


def _others(shape: NetworkShape, layers: Sequence[LayerShape], *, with_bias: bool) -> list[int]:
    """Numbers of every parameter that is no part of a matrix."""
    weights = [la.numbers - la.bias * la.d_out for la in shape.layers if la not in layers]
    biases = [la.d_out for la in shape.layers if la.bias and not with_bias]
    return [*weights, *biases, *shape.others]
