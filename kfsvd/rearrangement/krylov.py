"""Leading singular triples of a linear operator that is known by its products alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch

if TYPE_CHECKING:
    from torch import Generator, Tensor

_BASIS = 48
"""Size of a Krylov basis at which it is compressed to its leading Ritz vectors."""
_LOOK_EVERY = 4
"""Steps between two looks at the residuals, which cost more than a step on a small basis."""
_CLEARLY = 1e-3
"""Relative residual at which a triple of a further run is known well enough to be told from those that were found."""
_POWER_ITERATIONS = 200
"""Power iterations after which bidiagonalisation takes over: singular values close together converge too slowly."""


class Operator(Protocol):
    """Z: R^right → R^left."""

    dimensions: tuple[int, int]  # left, right

    def apply(self, right: Tensor) -> Tensor:
        """Z v."""

    def apply_transposed(self, left: Tensor) -> Tensor:
        """Zᵀ u."""

    def random_start(self, generator: Generator) -> Tensor:
        """A random right vector of the subspace in which triples are sought."""


class Triple(NamedTuple):
    """σ, u, v with Z v = σ u and Zᵀ u = σ v, u and v of norm 1."""

    sigma: Tensor
    left: Tensor
    right: Tensor


def power_svd(operator: Operator, start: Tensor, tolerance: float) -> Triple | None:
    """The leading triple by power iteration: u = Zv/‖Zv‖, v = Zᵀu/‖Zᵀu‖, from the right vector `start`.

    It stops once ‖Z v − σ u‖ ≤ tolerance · σ, a relative residual; None where that takes too many iterations. A
    positive start stays positive.
    """
    left, _ = _unit(operator.apply(start))
    for _ in range(_POWER_ITERATIONS):
        right, sigma = _unit(operator.apply_transposed(left))
        image = operator.apply(right)
        if _length(image - sigma * left) <= tolerance * sigma:
            return Triple(sigma, left, right)
        left, _ = _unit(image)
    return None


def golub_kahan_lanczos(operator: Operator, start: Tensor, rank: int, tolerance: float) -> list[Triple]:
    """The `rank` leading triples by Golub–Kahan–Lanczos bidiagonalisation with full re-orthogonalisation.

    A Krylov space holds only one direction of every singular subspace. So each run is followed by another one from a
    random start in the complement of what was found, until that finds nothing larger: repeated singular values come
    out as often as they occur. Such a run ends early where what it finds is clearly smaller. Fewer than `rank` triples
    are returned where the rest is zero.
    """
    found: list[Triple] = []
    generator = torch.Generator().manual_seed(rank)
    while True:
        least = found[rank - 1].sigma if len(found) >= rank else None
        run = _run(operator, start, found, rank if not found else 1, tolerance, least)
        if not run or (least is not None and not run[0].sigma > least * (1 + tolerance)):
            return found[:rank]
        for triple in run:
            found.insert(sum(bool(f.sigma * (1 + 1e-10) >= triple.sigma) for f in found), triple)
        if len(found) >= min(operator.dimensions):
            return found[:rank]
        start = operator.random_start(generator)


def _run(
    operator: Operator, start: Tensor, found: list[Triple], rank: int, tolerance: float, least: Tensor | None
) -> list[Triple]:
    """One bidiagonalisation of the operator orthogonal to `found`, from `start`, to convergence of `rank` triples.

    No triple is returned once the largest is clearly below `least`.

    The basis vectors are the columns of U and V; B = UᵀZV is bidiagonal but for the arrow that a compression leaves.
    ‖Zᵀũ_i − σ_i ṽ_i‖ = β|e_kᵀ p_i| with B = P Σ Qᵀ and β the length of the next direction (Koroko et al. 2022, §3.3).
    """
    left_dim, right_dim = operator.dimensions
    known_left = _columns([t.left for t in found], left_dim, start)
    known_right = _columns([t.right for t in found], right_dim, start)
    size = max(_BASIS, 3 * rank)
    lefts, rights = start.new_zeros(left_dim, size), start.new_zeros(right_dim, size + 1)
    bidiagonal = start.new_zeros(size, size)
    first, length = _unit(_orthogonalise(start, known_right))
    if not length > 0:
        return []
    rights[:, 0] = first
    k, scale = 0, found[0].sigma if found else None
    while True:
        image = _orthogonalise(operator.apply(rights[:, k]), known_left)
        scale = _length(image) if scale is None else scale
        remainder = _orthogonalise(image, lefts[:, :k])
        bidiagonal[:k, k] = lefts[:, :k].mT @ image
        alpha = _length(remainder)
        rounding = 8 * torch.finfo(start.dtype).eps * scale
        if alpha > rounding:
            lefts[:, k], bidiagonal[k, k] = remainder / alpha, alpha
            remainder = _orthogonalise(
                _orthogonalise(operator.apply_transposed(lefts[:, k]), known_right), rights[:, : k + 1]
            )
            beta = _length(remainder)
            k += 1
        else:  # the last right vector adds nothing: an invariant space
            beta = torch.zeros_like(alpha)
            k += 1
        exhausted = not beta > rounding or k >= min(left_dim, right_dim)
        if not exhausted and k < size and k % _LOOK_EVERY:
            rights[:, k] = remainder / beta
            continue
        p, sigmas, qt = torch.linalg.svd(bidiagonal[:k, :k])
        residuals = beta * p[k - 1, :rank]
        known = residuals[0].abs()
        if least is not None and bool((known <= _CLEARLY * least) & (sigmas[0] + known < (1 - _CLEARLY) * least)):
            return []
        if exhausted or (k >= rank and bool((residuals.abs() <= tolerance * sigmas[0]).all())):
            return [
                Triple(sigmas[i], lefts[:, :k] @ p[:, i], rights[:, :k] @ qt[i])
                for i in range(min(rank, k))
                if sigmas[i] > rounding
            ]
        if k == size:
            keep = 2 * rank + 4
            lefts[:, :keep], rights[:, :keep] = lefts[:, :k] @ p[:, :keep], rights[:, :k] @ qt[:keep].mT
            bidiagonal.zero_()
            bidiagonal.diagonal()[:keep] = sigmas[:keep]
            k = keep
        rights[:, k] = remainder / beta


def _unit(vector: Tensor) -> tuple[Tensor, Tensor]:
    """The vector over its length (zero stays zero), and the length."""
    length = _length(vector)
    return vector / torch.where(length > 0, length, torch.ones_like(length)), length


def _length(vector: Tensor) -> Tensor:
    """‖x‖, summed in float64: in float32 it is right to 2e-5 only for a million numbers, and no residual gets below."""
    length = torch.linalg.vector_norm(vector, dtype=torch.float64)
    return torch.as_tensor(length).to(vector.dtype)


def _columns(vectors: list[Tensor], dimension: int, like: Tensor) -> Tensor:
    return torch.stack(vectors, 1) if vectors else like.new_zeros(dimension, 0)


def _orthogonalise(vector: Tensor, basis: Tensor) -> Tensor:
    """The part of a vector orthogonal to the columns of a basis; twice, which is enough."""
    for _ in range(2 if basis.shape[1] else 0):
        vector = vector - basis @ (basis.mT @ vector)
    return vector
