"""Operations of fitting singular pairs of the rearranged Fisher block (`kfsvd.rearrangement`).

Iterations whose number depends on the data are counted as `kfsvd.rearrangement` does where it chooses a solver.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from kfsvd.network.samples import LayerSamples
from kfsvd.rearrangement import cheaper_solver
from kfsvd.rearrangement.gram import DIRECT
from suite.cost.moments import kfac, moment
from suite.cost.operations import (
    FLOAT64,
    batched,
    calls,
    cholesky,
    eigh,
    elementwise,
    product,
    repeated,
    symmetrised,
)

if TYPE_CHECKING:
    from kfsvd.approximations import Approximation
    from suite.cost.operations import Operation
    from suite.cost.shapes import LayerShape

FIRST_ITERATIONS, LATER_ITERATIONS = 12, 300
"""Steps to the leading triple, and to a later one matrix-free."""
FEW = 0.5
"""The part of an eigendecomposition's time that its leading pairs take."""
KRYLOV_STEPS = 12
"""Of the block bidiagonalisation in Gram form."""


def kpsvd(layer: LayerShape, approximation: Approximation, samples: int) -> list[Operation]:
    """The leading triples at once; one alone by power iteration."""
    rank: int = approximation.rank  # type: ignore[attr-defined]
    if _solver(layer, approximation, samples, first_only=rank == 1) == "matrix_free":
        return _matrix_free(layer, samples, rank)
    if rank == 1:
        return [*_gram(layer, samples, first_only=True), *_power(layer, samples), *_factors(layer, samples)]
    return [*_gram(layer, samples), *_leading(layer, samples), *_factors(layer, samples) * rank]


def deflation(layer: LayerShape, approximation: Approximation, samples: int) -> list[Operation]:
    """The leading triple by power iteration, and every later one of what is left."""
    rank: int = approximation.rank  # type: ignore[attr-defined]
    if _solver(layer, approximation, samples) == "matrix_free":
        return _matrix_free(layer, samples, rank)
    later = _leading(layer, samples) * (rank - 1)
    return [*_gram(layer, samples), *_power(layer, samples), *later, *_factors(layer, samples) * rank]


def lanczos(layer: LayerShape, approximation: Approximation, samples: int) -> list[Operation]:
    """The leading triples by block Lanczos, or by LAPACK of a small Gram matrix."""
    rank: int = approximation.rank  # type: ignore[attr-defined]
    if _solver(layer, approximation, samples) == "matrix_free":
        return _matrix_free(layer, samples, rank)
    p = _pairs(layer, samples)
    if p <= DIRECT:
        return [*_gram(layer, samples), *_leading(layer, samples), *_factors(layer, samples) * rank]
    roots = [*[cholesky(p, double=True)] * 2, elementwise(2 * p**2 * FLOAT64), product(p, p, p, double=True)]
    width = max(rank, 2)
    count = min(KRYLOV_STEPS, math.ceil(p / width))
    basis = (count - 1) * width / 2  # vectors on either side, in the mean
    turned = [product(width, p, basis, double=True), product(width, basis, p, double=True)] * 4
    steps = repeated([*[product(width, p, p, double=True)] * 2, *turned, calls(45)], count)
    steps += [product(rank, count * width, p, double=True)] * 2
    return [*_gram(layer, samples), *roots, *steps, *_factors(layer, samples) * rank]


def kfac_corrected(layer: LayerShape, approximation: Approximation, samples: int) -> list[Operation]:
    """KFAC's factors, and the leading triples of what they leave."""
    rank: int = approximation.rank  # type: ignore[attr-defined]
    first = kfac(layer, approximation, samples)
    if rank == 1:
        return first
    if _solver(layer, approximation, samples) == "matrix_free":
        return [*first, *_matrix_free(layer, samples, rank)]
    return [
        *first,
        *_gram(layer, samples),
        *_leading(layer, samples),
        *_factors(layer, samples) * (rank - 1),
    ]


def kpsvd_of_rank_1(layer: LayerShape, approximation: Approximation, samples: int) -> list[Operation]:
    """The single product whose eigenvectors may be EKFAC's basis."""
    from kfsvd.approximations.kpsvd import KPSVD

    return kpsvd(layer, KPSVD(solver=approximation.solver), samples)  # type: ignore[attr-defined]


def stream(layer: LayerShape, approximation: Approximation, samples: int) -> list[Operation]:
    """One warm power step of every pair; KFAC's own product is fitted anew."""
    d_in, d_out, rank = layer.d_in, layer.d_out, getattr(approximation, "rank", 1)
    first = kfac(layer, approximation, samples) if approximation.name == "kfac_corrected" else []
    steps = rank - bool(first)
    once = [*_step(layer, samples), elementwise(12 * (d_in**2 + d_out**2), 12), calls(25)]
    residuals = [elementwise(10 * (d_in**2 + d_out**2), 8)] * (steps * (steps - 1) // 2 + steps * bool(first))
    return [*first, *once * steps, *residuals]


def _pairs(layer: LayerShape, samples: int) -> int:
    """Columns of the Gram form."""
    return samples * layer.positions * (layer.positions + 1) // 2


def _gram(layer: LayerShape, samples: int, *, first_only: bool = False) -> list[Operation]:
    """Both Gram matrices in float64, their coupling, and the resolution."""
    rows, p = samples * layer.positions, _pairs(layer, samples)
    sides = [
        operation
        for d in (layer.d_in, layer.d_out)
        for operation in (
            elementwise(3 * (not first_only) * rows * d, 1),
            product(rows, d, rows, double=not first_only),
            elementwise((3 * rows**2 + (8 if layer.positions == 1 else 30) * p**2) * FLOAT64, 4),
            calls(10),
        )
    ]
    return [*sides, elementwise(9 * p**2 * FLOAT64, 5), calls(10)]


def _power(layer: LayerShape, samples: int) -> list[Operation]:
    """The leading triple by power iteration: products with both Gram matrices."""
    p = _pairs(layer, samples)
    return [elementwise((2 * FIRST_ITERATIONS + 14) * p**2 * FLOAT64, 2 * FIRST_ITERATIONS + 14), calls(90)]


def _leading(layer: LayerShape, samples: int) -> list[Operation]:
    """A few triples at once: L of K_G, M = Lᵀ Cᵀ K_A C L, and its leading eigenvectors."""
    p = _pairs(layer, samples)
    few = eigh(p, double=True)
    return [
        elementwise(20 * p**2 * FLOAT64, 10),
        cholesky(p, double=True),
        *[product(p, p, p, double=True)] * 2,
        few._replace(work=FEW * few.work),
        calls(50),
    ]


def _factors(layer: LayerShape, samples: int) -> list[Operation]:
    """Σ α_n a_n a_nᵀ and Σ β_n g_n g_nᵀ, with the norms that scale them."""
    rows, p, t = samples * layer.positions, _pairs(layer, samples), layer.positions
    mixed = [batched(product(t, t, d), samples) for d in (layer.d_in, layer.d_out)] if t > 1 else []
    sides = [*moment(rows, layer.d_in), *moment(rows, layer.d_out)]
    return [elementwise(4 * p**2 * FLOAT64, 4), *mixed, *sides, calls(20)]


def _step(layer: LayerShape, samples: int) -> list[Operation]:
    """Z v and Zᵀ u by products of the layer's width."""
    rows, d_in, d_out, t = samples * layer.positions, layer.d_in, layer.d_out, layer.positions
    each = [] if t == 1 else [op for d in (d_in, d_out) for op in (product(t, d, t), product(t, t, d))]
    return [
        product(rows, d_out, d_out),
        product(d_in, rows, d_in),
        product(rows, d_in, d_in),
        product(d_out, rows, d_out),
        *(batched(op, samples) for op in each),
        elementwise(5 * rows * (d_in + d_out), 4),
        calls(12),
    ]


def _matrix_free(layer: LayerShape, samples: int, rank: int) -> list[Operation]:
    """The leading triple by power iteration, every later one by bidiagonalisation or a long power iteration."""
    d_in, d_out = layer.d_in, layer.d_out
    if layer.positions > min(d_in, d_out):  # the gradients themselves take the place of what they are made of
        layer = replace(layer, positions=d_in)
    iteration = [*_step(layer, samples), elementwise(12 * (d_in**2 + d_out**2), 12), calls(10)]
    made = [symmetrised(d_in), symmetrised(d_out), elementwise(2 * (d_in**2 + d_out**2), 2)] * rank
    return [*repeated(iteration, FIRST_ITERATIONS + LATER_ITERATIONS * (rank - 1)), *made]


def _solver(layer: LayerShape, approximation: Approximation, samples: int, *, first_only: bool = False) -> str:
    solver: str = approximation.solver  # type: ignore[attr-defined]
    if solver != "auto":
        return solver
    positions = () if layer.positions == 1 else (layer.positions,)
    a, g = (torch.empty(samples, *positions, d, device="meta") for d in (layer.d_in, layer.d_out))
    return cheaper_solver(LayerSamples(a, g), first_only=first_only)
