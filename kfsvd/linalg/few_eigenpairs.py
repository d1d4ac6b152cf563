"""A few eigenpairs of a small symmetric matrix: by SciPy's LAPACK on one thread where it is at hand, else by torch's.

LAPACK finds a few pairs in less time than all, and torch offers all alone. SciPy brings a BLAS with threads that
`torch.set_num_threads` does not know: left to themselves they wait for cores that torch's threads or other processes
keep busy. Three pairs of a 128×128 matrix took 0.42 ms on one thread, and 24 on two of which one found its core taken.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable


def largest_eigenpairs(matrix: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The largest eigenvalues, ascending, and their eigenvectors as columns; of a GPU's matrix, worked out on the host.

    Args:
        matrix: symmetric and finite, (n, n), in float32 or float64.
        count: how many, from 1 to n.

    """
    host = matrix.cpu()
    eigh = _scipy_eigh()
    if eigh is None:
        every, basis = torch.linalg.eigh(host)
        values, vectors = every[-count:], basis[:, -count:]
    else:
        values, vectors = map(torch.from_numpy, eigh(host.numpy(), len(host) - count))
    return values.to(matrix.device), vectors.to(matrix.device)


@cache
def _scipy_eigh() -> Callable[[Any, int], tuple[Any, Any]] | None:
    """Eigenpairs from one of an index on, by SciPy on one thread; None without SciPy or threadpoolctl."""
    try:
        import scipy.linalg
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return None
    # SciPy's BLAS, and others that are loaded as libraries of their own, which that of torch's wheels is not
    blas = ThreadpoolController().select(user_api="blas")

    def from_index(matrix: Any, first: int) -> tuple[Any, Any]:
        with blas.limit(limits=1):
            found: tuple[Any, Any] = scipy.linalg.eigh(
                matrix, subset_by_index=(first, len(matrix) - 1), driver="evr", check_finite=False
            )
            return found

    return from_index
