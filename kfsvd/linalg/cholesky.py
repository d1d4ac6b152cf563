"""Cholesky factors and inverses of damped factors: one matrix that rounding may have spoiled, or many at once.

On a CPU narrow matrices of one size share a call: 0.69 of the time at a width of 64, but 1.09 at 1000. On a GPU each
has a call of its own, as several take longer together, and the host waits once, for the verdicts on all of them
(reports/gpu.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

NARROW = 64
"""Width up to which matrices of one size share a call on a CPU."""


class IndefiniteError(ArithmeticError):
    """A damped Kronecker sum is not positive definite and the guard is `raise`."""


def cholesky(matrix: Tensor) -> Tensor:
    """A Cholesky factor; where rounding has made the matrix indefinite, with the least jitter that mends it.

    Raises:
        IndefiniteError: no small jitter does.

    """
    factor, info = torch.linalg.cholesky_ex(matrix)
    jitter = torch.finfo(matrix.dtype).eps * matrix.diagonal().abs().max()
    for _ in range(8):
        if int(info) == 0:
            return torch.as_tensor(factor)
        jitter = jitter * 10
        factor, info = torch.linalg.cholesky_ex(add_diagonal(matrix, jitter))
    raise IndefiniteError(
        "a damped factor is not positive definite: its samples are not finite, or damping is too small"
    )


def damped_cholesky_inverses(matrices: Sequence[Tensor], shifts: Sequence[Tensor]) -> list[Tensor]:
    """(M + aI)⁻¹ of positive semidefinite matrices on one device, each (n, n) of its own n.

    Args:
        matrices: M of each.
        shifts: a of each, a scalar.

    Raises:
        IndefiniteError: as `cholesky`.

    """
    groups: dict[object, list[int]] = {}
    for index, matrix in enumerate(matrices):
        alone = matrix.device.type != "cpu" or len(matrix) > NARROW
        groups.setdefault(index if alone else (len(matrix), matrix.dtype), []).append(index)
    if not groups:
        return []
    found: dict[int, Tensor] = {}
    verdicts = []
    for members in groups.values():
        first, *others = (add_diagonal(matrices[index], shifts[index]) for index in members)
        stacked = torch.stack([first, *others]) if others else first.unsqueeze(0)
        factors, info = torch.linalg.cholesky_ex(stacked)
        if first.device.type == "cpu" and bool(info.any()):  # LAPACK inverts no unfinished factor, a GPU any
            eye = torch.eye(len(first), dtype=first.dtype)
            factors = torch.where((info == 0)[:, None, None], factors, eye)
        inverses = torch.cholesky_inverse(factors)
        own = [inverse.clone() for inverse in inverses] if others else [inverses[0]]  # each with its own memory
        found.update(zip(members, own, strict=True))
        verdicts.append(info)
    for index, failed in zip(found, torch.cat(verdicts).tolist(), strict=True):
        if failed:
            found[index] = torch.cholesky_inverse(cholesky(add_diagonal(matrices[index], shifts[index])))
    return [found[index] for index in range(len(matrices))]


def add_diagonal(matrix: Tensor, value: Tensor) -> Tensor:
    """M + value · I, as a new matrix."""
    damped = matrix.clone()
    damped.diagonal().add_(value)
    return damped
