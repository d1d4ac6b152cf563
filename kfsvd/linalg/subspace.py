"""Leading eigenpairs of a symmetric matrix by subspace iteration, started from what was found before.

A basis Q of orthonormal columns gives the Ritz pairs (θ, QS) of QᵀAQ = S diag(θ) Sᵀ, sorted by |θ|. A step takes
Q R = [A QS, AΩ], with random columns Ω the first time: so directions come in that were not there before. It costs two
products with A, 4n²k operations for k columns, where a full eigendecomposition takes some 10 n³. Nothing here says that
the pairs are all that matter: `kfsvd.inverse.low_rank` holds them to a bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from kfsvd.linalg.eigh import symmetric_eigh
from kfsvd.linalg.thin import times_thin

if TYPE_CHECKING:
    from torch import Tensor

SMALL = 128
"""Widths up to which a full eigendecomposition is as fast."""
EXTRA = 8
"""Random columns beside a warm start."""
COLD = 24
"""Columns without a warm start."""


class Subspace:
    """Approximate leading eigenpairs of a symmetric matrix.

    Args:
        matrix: A (n, n).
        start: (n, k), orthonormal columns near the leading eigenvectors; k = 0 if nothing is known of them. Their Ritz
            pairs are the first that are offered, before any step.

    """

    values: Tensor
    """θ (k,), by falling |θ|."""
    vectors: Tensor
    """(n, k), orthonormal."""
    images: Tensor
    """A times the vectors, (n, k)."""

    def __init__(self, matrix: Tensor, start: Tensor) -> None:
        self.matrix = matrix
        self._random = torch.Generator().manual_seed(len(matrix))
        self.exact = len(matrix) <= SMALL
        """Whether the pairs are those of a full eigendecomposition."""
        self.searched = False
        """Whether anything but the start has been looked at."""
        if self.exact:
            self.decompose()
        elif start.shape[1]:
            self._take(start)
        else:
            self.images = start
            self._extend(COLD)
            self.iterate(3)

    def iterate(self, steps: int = 1) -> None:
        """So many steps more."""
        if not self.searched and not self.exact:
            self._extend(EXTRA)
        for _ in range(0 if self.exact else steps):
            self._take(torch.linalg.qr(self.images).Q)

    def widen(self) -> None:
        """Twice as many columns, the new ones random, and a few steps."""
        if not self.exact:
            self._extend(self.images.shape[1])
            self.iterate(3)

    def decompose(self) -> None:
        """All eigenpairs, exactly."""
        values, vectors = symmetric_eigh(self.matrix)
        order = values.abs().argsort(descending=True)
        self.values, self.vectors = values[order], vectors[:, order]
        self.images = self.vectors * self.values
        self.exact = self.searched = True

    def _take(self, basis: Tensor) -> None:
        """The Ritz pairs of a basis."""
        images = times_thin(self.matrix, basis)
        values, turn = symmetric_eigh(basis.mT @ images)
        order = values.abs().argsort(descending=True)
        turn = turn[:, order]
        self.values, self.vectors, self.images = values[order], times_thin(basis, turn), times_thin(images, turn)

    def _extend(self, columns: int) -> None:
        """Random columns beside the images; all pairs where so many would not be cheaper."""
        n = len(self.matrix)
        if 2 * (self.images.shape[1] + columns) > n:
            self.decompose()
            return
        random = torch.randn(n, columns, generator=self._random, dtype=self.matrix.dtype).to(self.matrix.device)
        self.images = torch.cat([self.images, times_thin(self.matrix, random)], 1)
        self.searched = True
