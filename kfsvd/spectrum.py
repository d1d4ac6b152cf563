"""The largest eigenvalues of a symmetric operator on gradients, by block Krylov spaces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

_DENSE = 2048
"""Dimension up to which the operator is formed and decomposed."""


def leading_eigenvalues(
    apply: Callable[[Tensor], Tensor], shape: tuple[int, int], count: int, *, like: Tensor, tolerance: float = 1e-6
) -> Tensor:
    """The `count` algebraically largest eigenvalues, descending, of a symmetric operator on (d_out, d_in) matrices.

    Dense where the dimension allows it. Otherwise by block Krylov spaces with full re-orthogonalisation and
    Rayleigh–Ritz, grown until the eigenvalues wanted change by less than `tolerance` of the largest.

    Args:
        apply: the operator, on a stack of matrices (k, d_out, d_in).
        shape: (d_out, d_in).
        count: how many; all if there are fewer.
        like: a tensor of the dtype and device to work in.
        tolerance: the change of an eigenvalue at which it counts as found, in units of the largest.

    """
    dimension = shape[0] * shape[1]
    count = min(count, dimension)

    def image_of(rows: Tensor) -> Tensor:
        return apply(rows.reshape(-1, *shape)).flatten(1)

    if dimension <= _DENSE:
        matrix = image_of(torch.eye(dimension, dtype=like.dtype, device=like.device))
        return _descending(matrix)[:count]
    generator = torch.Generator().manual_seed(count)
    width = max(8, count // 2)
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
        previous, values = values, _descending(projected)[:count]
        if len(basis) + width > dimension:
            return values
        if len(previous) == count and (values - previous).abs().max() <= tolerance * values.abs().max():
            return values
        block = image


def _descending(matrix: Tensor) -> Tensor:
    values: Tensor = torch.linalg.eigvalsh((matrix + matrix.mT) / 2)
    return values.flip(0)
