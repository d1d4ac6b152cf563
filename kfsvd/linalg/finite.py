"""Whether tensors hold a NaN or an infinity, without waiting for their device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor


def all_finite(tensors: Iterable[Tensor]) -> Tensor:
    """Whether all are finite: a boolean scalar on their device.

    One sum each: no infinity and no NaN leaves a sum finite, and it takes a tenth of the time of a look at each number.
    On a GPU they are largest sizes, which one call gives for all tensors. A sum may be beyond its numbers where none of
    them is, from 10³⁸ on.
    """
    given = [tensor for tensor in tensors if tensor.numel()]
    if not given:
        return torch.ones((), dtype=torch.bool)
    if given[0].device.type == "cpu":
        wide = [torch.promote_types(tensor.dtype, torch.float32) for tensor in given]  # float16 ends at 65504
        numbers = [tensor.sum(dtype=dtype) for tensor, dtype in zip(given, wide, strict=True)]
    else:
        numbers = list(torch._foreach_norm(given, float("inf")))
    return torch.isfinite(torch.stack(numbers)).all()
