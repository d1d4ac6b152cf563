"""Which weights of a model are left, kept at zero while it is trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn
    from torch.optim import Optimizer
    from torch.utils.hooks import RemovableHandle


@dataclass(frozen=True, eq=False)
class Masks:
    """The weights that `kfsvd.compression.prune` has left, layer by layer.

    Args:
        kept: the layer's name → bool of its weight's shape, true where a weight is left.

    """

    kept: Mapping[str, Tensor]

    @property
    def weights(self) -> int:
        """How many weights are left."""
        return sum(int(mask.sum()) for mask in self.kept.values())

    @property
    def share(self) -> float:
        """The same as a share of all weights of these layers."""
        return self.weights / sum(mask.numel() for mask in self.kept.values())

    @torch.no_grad()
    def apply(self, model: nn.Module) -> None:
        """Set the weights that are not left to zero.

        Args:
            model: the one that was pruned, or a copy.

        """
        for name, mask in self.kept.items():
            weight = model.get_submodule(name).weight
            assert isinstance(weight, torch.Tensor)
            weight.masked_fill_(~mask.to(weight.device), 0)

    def hold(self, model: nn.Module, optimizer: Optimizer) -> RemovableHandle:
        """Apply them after each step of an optimizer, until the handle's `remove()`.

        Args:
            model: the one that was pruned, or a copy.
            optimizer: of its parameters.

        """
        return optimizer.register_step_post_hook(lambda *_: self.apply(model))
