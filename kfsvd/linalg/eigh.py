"""Symmetric eigendecompositions, each where it takes the least time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

ON_HOST, IN_FLOAT64 = 128, 512
"""Widths up to which a GPU's matrix is decomposed on the host, and else in float64.

There, float32 takes another method up to 512 than float64, and than itself beyond: 2.3 and 1.7 ms at 128 (one core of
the host 0.9), 6.4 and 2.4 at 256, 17.5 and 4.9 at 501, 10.2 and 11.2 at 1001 (H200, torch 2.11, CUDA 13.0).
"""


def symmetric_eigh(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues and eigenvectors of a symmetric matrix, free of subnormal numbers.

    A rank-deficient factor leaves entries of 1e-40 in float32, which make products several times slower and LAPACK's
    divide and conquer return NaN without an error; so they are set to zero first. Where the decomposition fails all
    the same, it is done again in float64, of a GPU's matrix on the host. Of such a matrix it is made where float32 took
    the least time on one machine, waiting and copies counted: see `ON_HOST` and `IN_FLOAT64`.
    """
    if not matrix.numel():
        return matrix.diagonal(), matrix
    device, dtype = matrix.device, matrix.dtype
    if device.type == "cuda" and len(matrix) <= ON_HOST:
        values, vectors = symmetric_eigh(matrix.cpu())
        return values.to(device), vectors.to(device)
    matrix = _without_subnormals((matrix + matrix.mT) / 2)
    if device.type == "cuda" and len(matrix) <= IN_FLOAT64:
        matrix = matrix.double()
    try:
        values, vectors = torch.linalg.eigh(matrix)
    except RuntimeError:  # torch.linalg.LinAlgError
        failed = True
    else:
        failed = not math.isfinite(_largest_size(vectors))
    if failed:
        if not torch.isfinite(matrix).all():
            raise FloatingPointError("a curvature factor is not finite: activations or gradients are out of range")
        values, vectors = (part.to(device) for part in torch.linalg.eigh(matrix.cpu().double()))
    return values.to(dtype), _without_subnormals(vectors.to(dtype))


def _without_subnormals(matrix: Tensor) -> Tensor:
    """Zero the entries below 1e-18 of the largest: far below rounding, and their products stay normal numbers."""
    size = _largest_size(matrix)
    return torch.nn.functional.hardshrink(matrix, 1e-18 * size) if math.isfinite(size) else matrix


def _largest_size(matrix: Tensor) -> float:
    """The largest |M_ij|; NaN where an entry is."""
    least, largest = torch.aminmax(matrix)
    return max(-float(least), float(largest))
