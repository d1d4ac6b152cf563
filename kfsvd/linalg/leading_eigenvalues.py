"""The largest eigenvalues of a symmetric operator on gradients, by block Krylov spaces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

_DENSE = 2048
"""Dimension up to which the operator is formed and decomposed."""
_BLOCK = 16
"""Vectors of a block: the fewer, the smaller the space that suffices; the more, the better the products."""
_CHECKED = 4
"""Blocks between two looks at the eigenvalues."""


def leading_eigenvalues(
    apply: Callable[[Tensor], Tensor],
    shape: tuple[int, int],
    count: int,
    weights: Tensor | None = None,
    *,
    like: Tensor,
    tolerance: float = 1e-8,
) -> Tensor:
    """The `count` algebraically largest eigenvalues, descending, of a symmetric operator on (d_out, d_in) matrices.

    Dense where the dimension allows it. Otherwise by block Krylov spaces with full re-orthogonalisation and
    Rayleigh–Ritz, grown until Σ_i w_i λ_i changes by less than `tolerance` of itself.

    Args:
        apply: the operator, on a stack of matrices (k, d_out, d_in).
        shape: (d_out, d_in).
        count: how many; all if there are fewer.
        weights: w (count,), descending; all 1 if not given.
        like: a tensor of the dtype and device to work in.
        tolerance: the relative change of the weighted sum at which the eigenvalues count as found.

    """
    dimension = shape[0] * shape[1]
    count = min(count, dimension)

    def image_of(rows: Tensor) -> Tensor:
        return apply(rows.reshape(-1, *shape)).flatten(1)

    if dimension <= _DENSE:
        matrix = image_of(torch.eye(dimension, dtype=like.dtype, device=like.device))
        return _descending(matrix)[:count]
    generator = torch.Generator().manual_seed(count)
    width = _BLOCK
    block = torch.randn(width, dimension, generator=generator, dtype=like.dtype).to(like.device)
    basis, projected = like.new_zeros(0, dimension), like.new_zeros(0, 0)
    values: Tensor = like.new_zeros(0)
    while True:
        for _ in range(2):
            block = block - (block @ basis.mT) @ basis
            block = torch.linalg.qr(block.mT)[0].mT
        image = image_of(block)
        basis = torch.cat([basis, block])
        column = basis @ image.mT
        known = len(projected)
        projected = torch.cat([torch.cat([projected, column[:known]], 1), column.mT])
        block = image
        full = len(basis) + width > dimension
        if not full and (len(basis) < count or len(basis) // width % _CHECKED):
            continue
        previous, values = values, _descending(projected)[:count]
        if full:
            return values
        if len(previous) == count:
            w = torch.ones_like(values) if weights is None else weights[:count]
            if (w * (values - previous)).abs().sum() <= tolerance * (w * values).abs().sum():
                return values


def _descending(matrix: Tensor) -> Tensor:
    values: Tensor = torch.linalg.eigvalsh((matrix + matrix.mT) / 2)
    return values.flip(0)
