"""Operations of preparing a layer's damped inverse (`kfsvd.inverse`), dense or of low rank, and of applying it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kfsvd.inverse.damped import DENSE_LIMIT
from kfsvd.inverse.low_rank import SMALL as SMALL_LAYER
from kfsvd.inverse.low_rank_bounds import POWERS, PROBES
from kfsvd.linalg.subspace import COLD, EXTRA, SMALL
from suite.cost.operations import (
    FLOAT64,
    batched,
    calls,
    cholesky,
    cholesky_inverse,
    eigenpairs,
    elementwise,
    product,
    qr,
    repeated,
    triangular_solve,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from suite.cost.operations import Operation
    from suite.cost.shapes import LayerShape

GRADIENT_ITERATIONS = 20
"""Steps of conjugate gradients for the exact rule with several products."""


def dense(layer: LayerShape, rank: int, rule: str) -> list[Operation]:
    """The inverse of a sum of `rank` products."""
    d_in, d_out = layer.d_in, layer.d_out
    damped = [*_damped(d_in), *_damped(d_out), calls(8)]
    if rule != "exact":
        if rank == 1:
            return [*damped, *_inverted(d_in), *_inverted(d_out)]
        return [*damped, *_joint_basis(d_in), *_joint_basis(d_out), elementwise(11 * d_in * d_out, 4)]
    if rank == 1:
        return [*eigenpairs(d_in), *eigenpairs(d_out), elementwise(10 * d_in * d_out, 4)]
    if d_in * d_out <= DENSE_LIMIT:
        return [elementwise(4 * rank * (d_in * d_out) ** 2, 2 * rank), cholesky(d_in * d_out)]
    return dense(layer, min(rank, 2), "factored_pi")


def apply_dense(layer: LayerShape, rank: int, rule: str) -> list[Operation]:
    """Δ of a gradient, and its slope."""
    d_in, d_out = layer.d_in, layer.d_out
    both, slope = _both_sides(layer), _slope(layer)
    if rule != "exact":
        return [*both, *slope] if rank == 1 else [*both * 2, elementwise(3 * d_in * d_out), *slope]
    if rank == 1:
        return [*both * 2, elementwise(3 * d_in * d_out), *slope]
    if d_in * d_out <= DENSE_LIMIT:
        return [triangular_solve(d_in * d_out, 2), *slope]
    guarded = [*both * 2, elementwise(3 * d_in * d_out)]
    iteration = [*both * rank, *guarded, elementwise((25 + 3 * rank) * d_in * d_out, 12 + rank), calls(8)]
    return [*guarded, *repeated(iteration, GRADIENT_ITERATIONS), *slope]


def low_rank(layer: LayerShape, rank: int, kept: tuple[int, int]) -> list[Operation]:
    """A low-rank inverse of `rank` products, found from the past one on."""
    sides = [*_side(layer.d_in, kept[0]), *_side(layer.d_out, kept[1])]
    if rank == 2:
        sides += [*_second(layer.d_in, kept[0]), *_second(layer.d_out, kept[1]), elementwise(12 * kept[0] * kept[1], 6)]
        sides += _tightened(*max((layer.d_in, kept[0]), (layer.d_out, kept[1])))
    return [*sides, calls(10)]


def is_low_rank(layer: LayerShape, rank: int, kept: tuple[int, int]) -> bool:
    """Whether the low-rank inverse is the cheaper one to apply, as `kfsvd.inverse.low_rank` decides."""
    return not is_small(layer, rank) and 2 * sum(kept) < rank * (layer.d_in + layer.d_out)


def is_small(layer: LayerShape, rank: int) -> bool:
    """Whether no low-rank inverse is looked for."""
    return layer.d_in * layer.d_out * (layer.d_in + layer.d_out) <= SMALL_LAYER[rank > 1]


def apply_low_rank(layer: LayerShape, rank: int, kept: tuple[int, int]) -> list[Operation]:
    """Δ = γ(V − L R) of a gradient as its thin factors, and its slope."""
    d_in, d_out, (k_in, k_out) = layer.d_in, layer.d_out, kept
    thin = [
        product(k_out, d_out, d_in),
        product(k_in, d_in, d_out),
        product(k_out, d_in, k_in),
        product(k_in, k_out, d_out),
    ]
    if rank == 2:
        thin += [
            product(k_out, k_out, k_in),
            product(k_out, k_in, k_in),
            product(k_out, k_out, k_in),
            product(k_out, k_in, k_in),
            elementwise(6 * k_in * k_out, 3),
        ]
    combined = elementwise(12 * (d_in * k_out + d_out * k_in), 8)
    return [*thin, combined, elementwise(2 * d_in * d_out), calls(10)]


def add_dense(layer: LayerShape) -> list[Operation]:
    """Momentum ← μ momentum + ν Δ."""
    return [elementwise(2 * layer.numbers), elementwise(3 * layer.numbers)]


def add_low_rank(layer: LayerShape, kept: tuple[int, int]) -> list[Operation]:
    """The same of thin factors."""
    d_in, d_out, k = layer.d_in, layer.d_out, sum(kept)
    return [elementwise(3 * d_out * k), product(d_out, k, d_in), elementwise(4 * d_in * d_out), calls(3)]


def woodbury(layers: Sequence[LayerShape], samples: int) -> list[Operation]:
    """The Cholesky factor of the samples' Gram matrix over layers."""
    operations: list[Operation] = []
    for layer in layers:
        rows, d_in, d_out = samples * layer.positions, layer.d_in, layer.d_out
        cast = elementwise(3 * FLOAT64 * rows * (d_in + d_out), 2)
        if layer.positions == 1 or layer.positions**2 * samples <= d_in * d_out:
            products = [product(rows, d_in, rows, double=True), product(rows, d_out, rows, double=True)]
            operations += [cast, *products, elementwise(6 * FLOAT64 * rows**2, 3), calls(14)]
        else:
            made = batched(product(d_out, layer.positions, d_in, double=True), samples)
            operations += [cast, made, product(samples, d_in * d_out, samples, double=True)]
    gram = elementwise((len(layers) + 8) * FLOAT64 * samples**2, 6)
    return [*operations, gram, cholesky(samples, double=True), calls(10)]


def apply_woodbury(layer: LayerShape, samples: int) -> list[Operation]:
    """(V − Jᵀ (λI + JJᵀ)⁻¹ J V)/λ of one layer."""
    passes = [elementwise(6 * layer.numbers, 2), elementwise(2 * layer.numbers), elementwise(2 * FLOAT64 * samples**2)]
    return [*project(layer, samples), *combine(layer, samples), *passes, calls(9)]


def project(layer: LayerShape, samples: int) -> list[Operation]:
    """J V: ⟨G_n, V⟩ of every sample."""
    rows = samples * layer.positions
    return [product(rows, layer.d_in, layer.d_out), elementwise(5 * rows * layer.d_out, 2), calls(5)]


def combine(layer: LayerShape, samples: int) -> list[Operation]:
    """Jᵀ c: Σ_n c_n G_n."""
    rows = samples * layer.positions
    return [elementwise(3 * rows * layer.d_out), product(layer.d_out, rows, layer.d_in), calls(5)]


def of_samples(layer: LayerShape, samples: int) -> tuple[list[Operation], list[Operation]]:
    """The exact block's, by Woodbury's identity: preparing it, and applying it."""
    return woodbury([layer], samples), apply_woodbury(layer, samples)


def in_eigenbasis(layer: LayerShape, _samples: int) -> tuple[list[Operation], list[Operation]]:
    """EKFAC's: its eigenvectors are there already."""
    return [elementwise(6 * layer.numbers, 2)], apply_dense(layer, 1, "exact")


def of_inputs(layer: LayerShape, _samples: int) -> tuple[list[Operation], list[Operation]]:
    """FOOF's: of the inputs' side alone."""
    n = layer.d_in
    prepared = [elementwise(3 * n**2), cholesky(n), cholesky_inverse(n), calls(7)]
    return prepared, [product(layer.d_out, layer.d_in, layer.d_in), *_slope(layer)]


def of_rank_one(layer: LayerShape, _samples: int) -> tuple[list[Operation], list[Operation]]:
    """Eva's, by the formula of Sherman and Morrison: vectors alone."""
    prepared = [elementwise(6 * FLOAT64 * (layer.d_in + layer.d_out), 6), calls(5)]
    projected = [product(1, layer.d_out, layer.d_in), calls(5)]  # vᵀV u
    return prepared, [*projected, elementwise(5 * layer.numbers, 2), *_slope(layer)]  # addr, div_


def learned(layer: LayerShape, _samples: int) -> tuple[list[Operation], list[Operation]]:
    """K-BFGS's: nothing is inverted."""
    return [], [*_both_sides(layer), *_slope(layer)]


OTHER_FORMS: dict[str, Callable[[LayerShape, int], tuple[list[Operation], list[Operation]]]] = {
    "exact": of_samples,
    "ekfac": in_eigenbasis,
    "foof": of_inputs,
    "eva": of_rank_one,
    "kbfgs": learned,
}
"""By the approximation's name, where F̂ is no sum of Kronecker products that damping enters by a rule."""


def _both_sides(layer: LayerShape) -> list[Operation]:
    """A gradient times a matrix on either side."""
    d_in, d_out = layer.d_in, layer.d_out
    return [product(d_out, d_out, d_in), product(d_out, d_in, d_in)]


def _slope(layer: LayerShape) -> list[Operation]:
    """⟨∇W, Δ⟩."""
    return [elementwise(2 * layer.numbers), calls(3)]


def _damped(n: int) -> list[Operation]:
    """A clone with a shifted diagonal."""
    return [elementwise(3 * n**2), calls(4)]


def _inverted(n: int) -> list[Operation]:
    return [cholesky(n), cholesky_inverse(n), calls(6)]


def _joint_basis(n: int) -> list[Operation]:
    """K with Kᵀ A K = I and Kᵀ P K diagonal."""
    return [cholesky(n), *[triangular_solve(n, n)] * 3, *eigenpairs(n), elementwise(12 * n**2, 6), calls(6)]


def _side(n: int, kept: int) -> list[Operation]:
    """The leading directions of one factor, and the Cholesky factor that shows that the rest is bounded.

    From the past directions it takes one step as a rule; where there are none, three.
    """
    block, steps = (kept + EXTRA, 1) if kept else (COLD, 3)
    if n <= SMALL or 2 * block > n:
        return [*eigenpairs(n), elementwise(8 * n**2, 4), calls(20)]
    step = [
        qr(n, block),
        product(block, n, n),
        product(block, n, block),
        *eigenpairs(block),
        *[product(block, block, n)] * 2,
        calls(10),
    ]
    shown = [
        elementwise(12 * n * kept, 6),
        product(n, kept, n),
        elementwise(3 * n**2),
        cholesky(n),
        calls(20),
    ]
    return [product(block, n, n), *step * steps, *shown, elementwise(3 * n * block, 3), calls(15)]


def _second(n: int, kept: int) -> list[Operation]:
    """A second factor, whitened, within the directions; and a first bound of what is beyond them."""
    within = [product(kept, n, n), product(kept, n, kept), *eigenpairs(kept), calls(5)]
    across = [product(kept, kept, n), elementwise(9 * n * kept, 3), product(kept, n, kept)]
    return [*within, *across, elementwise(n**2 + n * kept + kept**2, 3), calls(20)]


def _tightened(n: int, kept: int) -> list[Operation]:
    """A better bound by powers: counted for the wider side alone, as for many sides the first one is good enough."""
    thin = [product(PROBES, n, kept), product(PROBES, kept, n)]
    power = [product(PROBES, n, n), *thin, elementwise(8 * n * PROBES, 5), calls(8)]
    return [*thin, *power * POWERS]
