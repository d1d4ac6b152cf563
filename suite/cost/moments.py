"""Operations of fitting factors that are moments of the samples, made without a decomposition or an iteration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kfsvd.network.samples import STRIP
from suite.cost.operations import FLOAT64, batched, calls, elementwise, product, symmetrised

if TYPE_CHECKING:
    from kfsvd.approximations import Approximation
    from suite.cost.operations import Operation
    from suite.cost.shapes import LayerShape


def kfac(layer: LayerShape, _approximation: Approximation, samples: int) -> list[Operation]:
    """Both second moments."""
    rows = samples * layer.positions
    return [*moment(rows, layer.d_in), *moment(rows, layer.d_out), calls(2)]


def moment(rows: int, d: int) -> list[Operation]:
    """Xᵀ diag(c) X of (rows, d): its rows scaled, and their product, of wide rows in strips that are mirrored."""
    scaled = [elementwise(3 * rows * d), calls(3)]
    if d <= 2 * STRIP:
        return [*scaled, product(d, rows, d), symmetrised(d)]
    strips = [product(min(STRIP, d - begin), rows, d - begin) for begin in range(0, d, STRIP)]
    return [*scaled, *strips, symmetrised(d / 2**0.5), calls(10 * len(strips))]


def tkfac(layer: LayerShape, approximation: Approximation, samples: int) -> list[Operation]:
    """Both second moments, weighted by the other side's squares."""
    rows, d_in, d_out = samples * layer.positions, layer.d_in, layer.d_out
    if layer.positions == 1:
        squares = elementwise(rows * (d_in + d_out) * (2 + 5 * FLOAT64), 4)
        return [squares, calls(8), *kfac(layer, approximation, samples)]
    return [
        elementwise(samples * d_in * d_out * 5 * FLOAT64, 2),
        batched(product(d_out, layer.positions, d_in, double=True), samples),
        batched(product(d_in, d_out, d_in, double=True), samples),
        batched(product(d_out, d_in, d_out, double=True), samples),
        elementwise(samples * (d_in**2 + d_out**2) * 3 * FLOAT64, 4),
    ]


def foof(layer: LayerShape, _approximation: Approximation, samples: int) -> list[Operation]:
    """The inputs' second moment, and the identity beside it."""
    return [*moment(samples * layer.positions, layer.d_in), elementwise(2 * layer.d_out**2), calls(6)]


def tnt(layer: LayerShape, _approximation: Approximation, samples: int) -> list[Operation]:
    """One gradient G of all samples, in float64, with GᵀG and GGᵀ, which are cast and scaled."""
    rows, d_in, d_out = samples * layer.positions, layer.d_in, layer.d_out
    return [
        elementwise(rows * (d_in + d_out) * (1 + 2 * FLOAT64), 2),  # double
        elementwise(3 * FLOAT64 * rows * d_out),
        product(d_out, rows, d_in, double=True),
        product(d_in, d_out, d_in, double=True),
        product(d_out, d_in, d_out, double=True),
        elementwise((FLOAT64 + 2 + 3) * (d_in**2 + d_out**2), 4),
        calls(18),
    ]


def eva(layer: LayerShape, _approximation: Approximation, samples: int) -> list[Operation]:
    """The means of activations and gradients."""
    return means(layer, samples)


def means(layer: LayerShape, samples: int) -> list[Operation]:
    """Of both sides: over the positions of an example, then over the examples."""
    passes = elementwise(samples * (layer.positions + 2) * (layer.d_in + layer.d_out), 2)
    return [passes, product(1, samples, layer.d_in), product(1, samples, layer.d_out), calls(9)]
