"""A training or test set in memory, as it is stored: bytes or half floats, batched without a loop over examples."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Split:
    """Examples x = values · scale, and what is to be predicted: x itself, or a label.

    Args:
        values: (n, pixels), uint8 or float16; a memory-mapped file is fine.
        scale: what a stored unit is worth.
        shape: of one example as the network sees it, such as (784,) or (1, 28, 28).
        labels: (n,) int64 class indices; None where the target is the example itself.

    """

    values: Tensor
    scale: float
    shape: tuple[int, ...]
    labels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.values)

    @property
    def device(self) -> torch.device:
        """Where the values lie, and where batches come from."""
        return self.values.device

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs (batch, *shape) in float32, and targets: the inputs flattened, or labels (batch,)."""
        import torch

        indices = indices.to(self.device)
        flat = self.values.index_select(0, indices).to(torch.float32).mul_(self.scale)
        targets = flat if self.labels is None else self.labels.index_select(0, indices)
        return flat.reshape(len(flat), *self.shape), targets

    def to(self, device: torch.device) -> Split:
        """The same split on another device."""
        labels = None if self.labels is None else self.labels.to(device)
        return replace(self, values=self.values.to(device), labels=labels)
