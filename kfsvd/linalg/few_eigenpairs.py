"""A few eigenpairs of a small symmetric matrix, by SciPy's LAPACK on one thread.

SciPy brings a BLAS of its own, of whose threads `torch.set_num_threads` knows nothing: left to themselves they wait for
cores that torch's threads or other processes keep busy. Three pairs of a 128×128 matrix took 0.42 ms on one thread, and
24 on two of which one found its core taken.
"""

from __future__ import annotations

from functools import cache

import scipy.linalg
import torch
from threadpoolctl import ThreadpoolController


def largest_eigenpairs(matrix: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The largest eigenvalues, ascending, and their eigenvectors as columns; of a GPU's matrix, worked out on the host.

    Args:
        matrix: symmetric and finite, (n, n), in float64.
        count: how many, from 1 to n.

    """
    size = len(matrix)
    with _blas().limit(limits=1):
        found = scipy.linalg.eigh(
            matrix.cpu().numpy(), subset_by_index=(size - count, size - 1), driver="evr", check_finite=False
        )
    values, vectors = (torch.from_numpy(part).to(matrix.device) for part in found)
    return values, vectors


@cache
def _blas() -> ThreadpoolController:
    """SciPy's BLAS, and others that are loaded as libraries of their own, which that of torch's wheels is not."""
    return ThreadpoolController().select(user_api="blas")
