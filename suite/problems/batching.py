"""The order in which training examples are drawn: the same for every optimizer of a paired comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor


def batches(n: int, batch_size: int, seed: int) -> Iterator[Tensor]:
    """Endless batches of indices, (batch_size,) int64: a pure function of its arguments.

    Every epoch is a fresh permutation; its last, incomplete batch is dropped. Where the whole set is smaller than a
    batch, it is the batch.

    Raises:
        ValueError: there is no example, or the batch size is not positive.

    """
    import torch

    if n < 1 or batch_size < 1:
        raise ValueError(f"needs at least one example and a positive batch size; got {n} and {batch_size}")
    size = min(batch_size, n)
    generator = torch.Generator().manual_seed(seed)
    while True:
        permutation = torch.randperm(n, generator=generator)
        yield from permutation[: n - n % size].view(-1, size)
