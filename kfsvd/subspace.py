"""Leading eigenpairs of a symmetric matrix by subspace iteration, started from what was found before.

One step of a block X of columns: Q R = X, H = Qᵀ A Q = S diag(θ) Sᵀ, and the Ritz pairs are (θ, QS), sorted by |θ|;
the next X is A Q S. A step costs one product with A, 2n²k operations for k columns, against some 10 n³ of a full
eigendecomposition. Nothing here says that the pairs are all that matter: `kfsvd.low_rank` holds them to a bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from kfsvd.inverse import symmetric_eigh

if TYPE_CHECKING:
    from torch import Tensor

SMALL = 128
"""Widths up to which a full eigendecomposition is as fast."""
EXTRA = 8
"""Random columns beside a warm start, through which directions come in that were not there before."""
COLD = 24
"""Columns without a warm start."""


class Subspace:
    """Approximate leading eigenpairs of a symmetric matrix.

    Args:
        matrix: A (n, n).
        start: (n, k), columns near the leading eigenvectors; k = 0 if nothing is known of them.

    """

    def __init__(self, matrix: Tensor, start: Tensor) -> None:
        self.matrix = matrix
        self._random = torch.Generator().manual_seed(len(matrix))
        self.exact = False
        """Whether the pairs are those of a full eigendecomposition."""
        self._block = start
        self._widen(EXTRA if start.shape[1] else COLD)
        if not self.exact:
            self._block = matrix @ self._block
            self.iterate(1 if start.shape[1] else 3)

    values: Tensor
    """θ (k,), by falling |θ|."""
    vectors: Tensor
    """(n, k), orthonormal."""
    images: Tensor
    """A times the vectors, (n, k)."""

    def iterate(self, steps: int = 1) -> None:
        """So many steps more."""
        for _ in range(0 if self.exact else steps):
            basis = torch.linalg.qr(self._block).Q
            image = self.matrix @ basis
            values, turn = symmetric_eigh(basis.mT @ image)
            order = values.abs().argsort(descending=True)
            turn = turn[:, order]
            self.values, self.vectors, self.images = values[order], basis @ turn, image @ turn
            self._block = self.images

    def widen(self) -> None:
        """Twice as many columns, the new ones random, and a few steps."""
        if not self.exact:
            self._widen(self._block.shape[1])
            self.iterate(3)

    def _widen(self, columns: int) -> None:
        n = len(self.matrix)
        if n <= SMALL or 2 * (self._block.shape[1] + columns) > n:
            self.decompose()
            return
        new = torch.randn(n, columns, generator=self._random, dtype=self.matrix.dtype).to(self.matrix.device)
        size = torch.linalg.vector_norm(self._block, dim=0).mean() if self._block.shape[1] else 1.0
        self._block = torch.cat([self._block, new * (size / n**0.5)], 1)

    def decompose(self) -> None:
        """All eigenpairs, exactly."""
        values, vectors = symmetric_eigh(self.matrix)
        order = values.abs().argsort(descending=True)
        self.values, self.vectors = values[order], vectors[:, order]
        self.images = self.vectors * self.values
        self.exact = True
