"""A coarse correction across layers: what a block-diagonal inverse leaves undone, solved in a small space.

With F the whole network's sampled Fisher matrix, off-diagonal blocks included, y a step, r = ∇h − (F + λI)y what it
leaves of the gradient, and R₀ᵀ a few vectors, each on one layer alone:

    c = R₀ᵀ (R₀ (F + λI) R₀ᵀ)⁻¹ R₀ r

so that y + c leaves nothing of the gradient in the coarse space, R₀ (r − (F + λI)c) = 0.

F is never formed: F v = Jᵀ J v with the rows √w_n vec(G_n)ᵀ of J, one for each sample (Koroko et al. 2023).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from kfsvd.network.samples import LayerSamples


def fisher_product(samples: Sequence[LayerSamples], directions: Sequence[Tensor], damping: float) -> list[Tensor]:
    """(F + λI) v over layers, each part (d_out, d_in).

    Args:
        samples: of every layer, of the same examples in the same order.
        directions: v, a part (d_out, d_in) for each layer.
        damping: λ.

    """
    slopes = torch.stack([s.project(v).double() for s, v in zip(samples, directions, strict=True)]).sum(0)
    weighted = samples[0].normalised_weights * slopes
    return [s.combine(weighted.to(v.dtype)).add(v, alpha=damping) for s, v in zip(samples, directions, strict=True)]


def coarse_correction(
    samples: Sequence[LayerSamples], basis: Sequence[Sequence[Tensor]], residual: Sequence[Tensor], damping: float
) -> list[Tensor]:
    """The correction c, a part (d_out, d_in) for each layer; zero where the coarse system cannot be solved.

    Args:
        samples: of every layer, of the same examples in the same order.
        basis: for every layer its coarse vectors, (d_out, d_in) each; those that vanish do not count.
        residual: r, a part for each layer.
        damping: λ.

    """
    vectors = [torch.stack([_unit(vector) for vector in own]) for own in basis]  # (k, d_out, d_in)
    images = [torch.stack([s.project(v).double() for v in own], 1) for s, own in zip(samples, vectors, strict=True)]
    weighted = torch.cat(images, 1) * samples[0].normalised_weights.sqrt().unsqueeze(1)
    flat = [own.flatten(1).double() for own in vectors]
    grams = torch.block_diag(*(own @ own.mT for own in flat))  # type: ignore[no-untyped-call]
    system = weighted.mT @ weighted + damping * grams
    right = torch.cat([own @ r.flatten().double() for own, r in zip(flat, residual, strict=True)])
    diagonal = system.diagonal()
    diagonal.add_(1e-13 * diagonal.sum() + (diagonal == 0))  # a vector that vanishes has a coefficient of zero
    factor, info = torch.linalg.cholesky_ex(system)
    coefficients = torch.cholesky_solve(right.unsqueeze(1), factor).squeeze(1)
    coefficients = torch.where((info == 0) & coefficients.isfinite().all(), coefficients, 0)
    parts = torch.split(coefficients, [len(own) for own in vectors])
    return [torch.einsum("k,koi->oi", c.to(own.dtype), own) for c, own in zip(parts, vectors, strict=True)]


def _unit(vector: Tensor) -> Tensor:
    norm = torch.linalg.matrix_norm(vector)
    return vector * torch.where(norm > 0, 1 / norm, 0)
