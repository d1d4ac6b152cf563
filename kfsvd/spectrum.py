"""The largest eigenvalues of a symmetric operator on gradients, by a Krylov method."""

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
    """
    dimension = shape[0] * shape[1]
    count = min(count, dimension)
    if dimension <= _DENSE:
        units = torch.eye(dimension, dtype=like.dtype, device=like.device)
        columns = torch.stack([apply(unit.reshape(shape)).flatten() for unit in units], 1)
        spectrum: Tensor = torch.linalg.eigvalsh((columns + columns.mT) / 2)
        return spectrum.flip(0)[:count]
    generator = torch.Generator().manual_seed(count)
    width = max(4, count // 4)
    block = torch.randn(dimension, width, generator=generator, dtype=like.dtype).to(like.device)
    basis, images = like.new_zeros(dimension, 0), like.new_zeros(dimension, 0)
    values: Tensor = like.new_zeros(0)
    while True:
        for _ in range(2):
            block = block - basis @ (basis.mT @ block)
            block, _ = torch.linalg.qr(block)
        image = torch.stack([apply(column.reshape(shape)).flatten() for column in block.unbind(1)], 1)
        basis, images = torch.cat([basis, block], 1), torch.cat([images, image], 1)
        projected = basis.mT @ images
        ritz: Tensor = torch.linalg.eigvalsh((projected + projected.mT) / 2)
        previous, values = values, ritz.flip(0)[:count]
        if basis.shape[1] + width > dimension:
            return values
        if len(previous) == count and (values - previous).abs().max() <= tolerance * values.abs().max():
            return values
        block = image
