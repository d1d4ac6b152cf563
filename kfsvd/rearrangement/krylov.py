"""Leading singular triples of a linear operator that is known by its products alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch

if TYPE_CHECKING:
    from torch import Generator, Tensor

_BASIS = 48
"""Vectors of a Krylov basis at which it is compressed to its leading Ritz vectors."""
_LOOK_EVERY = 4
"""Steps between two looks at the residuals, which cost more than a step on a small basis."""
_SEED = 1_000
"""Of the random vectors: another one than that of any start."""
_POWER_ITERATIONS = 200
"""Power iterations after which bidiagonalisation takes over: singular values close together converge too slowly."""


class Operator(Protocol):
    """Z: R^right → R^left, of one vector or of each row of a block of them."""

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
    """The `rank` leading triples by block Golub–Kahan–Lanczos bidiagonalisation with full re-orthogonalisation.

    The block holds `start` and random vectors, as many as triples are sought: a Krylov space of one vector would hold
    one direction alone of a repeated singular value. Where the largest is repeated, up to ten times the tolerance, the
    first triple is the projection of `start` on its space, so that a positive start gives a positive one. Fewer than
    `rank` triples are returned where the rest is zero.

    The basis vectors are the rows of U and V; B = U Z Vᵀ is bidiagonal by blocks, but for the arrow that a compression
    leaves. With B = P Σ Q the Ritz triples are σ_i, p_iᵀU and q_iᵀV, and with β the part of Zᵀ's images of the last
    block b that is orthogonal to V, ‖Zᵀũ_i − σ_i ṽ_i‖ = ‖β (p_i)_b‖ ≤ tolerance · σ_1 ends it.

    Source: Golub, Luk & Overton 1981; Koroko et al. 2022, §3.3.
    """
    left_dim, right_dim = operator.dimensions
    generator = torch.Generator().manual_seed(_SEED + rank)
    width = max(rank, 2)
    size = max(_BASIS, 4 * width + 4)
    lefts, rights = start.new_zeros(size, left_dim), start.new_zeros(size, right_dim)
    core, eps, rounding = start.new_zeros(size, size), 8 * torch.finfo(start.dtype).eps, 0.0
    new = torch.stack([start, *(operator.random_start(generator) for _ in range(width - 1))])
    new, _ = _orthonormal(new / _length(new, 1).clamp(min=torch.finfo(start.dtype).tiny), eps, right_dim)
    i = j = steps = 0  # vectors in U and V
    while True:
        steps += 1
        block = slice(j, j + new.shape[0])
        rights[block] = new
        images = operator.apply(new)
        rounding = max(rounding, eps * float(_length(images, 1).max()))
        remainder, core[:i, block] = _orthogonalise(images, lefts[:i])
        added, alpha = _orthonormal(remainder, rounding, left_dim - i)
        last, j = slice(i, i + added.shape[0]), block.stop
        lefts[last], core[last, block], i = added, alpha, last.stop
        if added.shape[0]:
            remainder, _ = _orthogonalise(operator.apply_transposed(added), rights[:j])
            new, beta = _orthonormal(remainder, rounding, right_dim - j)
        exhausted = not (added.shape[0] and new.shape[0])
        full = max(i, j) + width > size
        if steps % _LOOK_EVERY and not exhausted and not full:
            continue
        p, sigmas, q = torch.linalg.svd(core[:i, :j], full_matrices=False)
        if exhausted or (min(i, j) >= rank and _converged(beta @ p[last, :rank], sigmas[0], tolerance)):
            break
        if full:
            i = j = keep = 2 * rank + 4
            lefts[:keep], rights[:keep] = p[:, :keep].mT @ lefts[: len(p)], q[:keep] @ rights[: q.shape[1]]
            core.zero_()
            core.diagonal()[:keep] = sigmas[:keep]
    alike = int((sigmas >= sigmas[0] * (1 - 10 * tolerance)).sum()) if len(sigmas) else 0
    wanted = max(rank, alike)
    left, right = p[:, :wanted].mT @ lefts[:i], q[:wanted] @ rights[:j]
    turn = turn_towards(start, right[:alike])
    left[:alike], right[:alike] = turn @ left[:alike], turn @ right[:alike]
    return [Triple(sigmas[k], left[k], right[k]) for k in range(min(rank, int((sigmas > rounding).sum())))]


def _converged(residuals: Tensor, largest: Tensor, tolerance: float) -> bool:
    return bool((torch.linalg.vector_norm(residuals, dim=0) <= tolerance * largest).all())


def turn_towards(start: Tensor, rows: Tensor) -> Tensor:
    """An orthogonal matrix T such that T `rows`, which are orthonormal, begin with the projection of `start` on them.

    The identity where `start` has no part in them.
    """
    coordinates = rows @ start
    length = torch.linalg.vector_norm(coordinates)
    if not length > 1e-8 * torch.linalg.vector_norm(start):
        return torch.eye(len(rows), dtype=rows.dtype, device=rows.device)
    if len(rows) == 1:
        return coordinates.sign().unsqueeze(1)
    turn, _ = torch.linalg.qr((coordinates / length).unsqueeze(1), mode="complete")
    turn[:, 0] = coordinates / length
    return torch.as_tensor(turn.mT)


def _orthonormal(block: Tensor, rounding: float, room: int) -> tuple[Tensor, Tensor]:
    """Q and R with RᵀQ the rows of a block, without directions of mere rounding and none beyond the room there is."""
    q, r = torch.linalg.qr(block.mT)
    if block.shape[0] <= room and float(r.diagonal().abs().min()) > rounding:
        return q.mT, r
    turn, sizes, right = torch.linalg.svd(r, full_matrices=False)
    kept = min(int((sizes > rounding).sum()), room)
    return (q @ turn[:, :kept]).mT, sizes[:kept, None] * right[:kept]


def _orthogonalise(block: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
    """The part of the rows orthogonal to those of a basis, and their coordinates; twice, which is enough."""
    coordinates = basis @ block.mT
    block = torch.addmm(block, coordinates.mT, basis, alpha=-1)
    return torch.addmm(block, block @ basis.mT, basis, alpha=-1), coordinates


def _unit(vector: Tensor) -> tuple[Tensor, Tensor]:
    """The vector over its length (zero stays zero), and the length."""
    length = _length(vector)
    return vector / torch.where(length > 0, length, torch.ones_like(length)), length


def _length(vectors: Tensor, dim: int | None = None) -> Tensor:
    """‖x‖, summed in float64: in float32 it is right to 2e-5 only for a million numbers, and no residual gets below."""
    length = torch.linalg.vector_norm(vectors, dim=dim, keepdim=dim is not None, dtype=torch.float64)
    return torch.as_tensor(length).to(vectors.dtype)
