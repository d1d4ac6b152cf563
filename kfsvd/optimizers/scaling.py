"""How long a step is: the scale of every layer's direction, as scalars on its device.

kl_clip    ν = min(1, √(c / Σ_l |⟨∇h_l, Δ_l⟩|)) for all layers: the step's own KL divergence stays near c
adam_norm  ‖Adam's step‖/‖Δ_l‖ for each layer: Adam's length, the natural gradient's direction ("grafting")
sgd_norm   ‖∇h_l‖/‖Δ_l‖ for each layer
none       one for all
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from kfsvd.inverse.damped import Direction

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8


def clipped(directions: Sequence[Direction], limit: float) -> Tensor:
    """ν of the KL clip; 0 where the divergence is beyond the numbers.

    Args:
        directions: of all layers.
        limit: c, in nats.

    """
    total = torch.stack([direction.slope for direction in directions]).abs().sum()
    scale = (limit / (total + 1e-30)).sqrt().clamp(max=1)
    return torch.where(torch.isfinite(total), scale, torch.zeros_like(scale))


def grafted(direction: Direction, length: Tensor) -> Tensor:
    """Length/‖Δ‖; 0 where Δ is zero.

    Args:
        direction: Δ of a layer.
        length: that the step is given.

    """
    own = torch.linalg.vector_norm(direction.matrix())
    return torch.where(own > 0, length / own, torch.zeros_like(own))


@dataclass(eq=False)
class AdamMoments:
    """The running means m of a layer's gradient and v of its square (Kingma & Ba 2015), for Adam's length alone."""

    mean: Tensor
    square: Tensor
    count: int = 0

    @classmethod
    def zeros(cls, gradient: Tensor) -> AdamMoments:
        """Before the first gradient."""
        return cls(torch.zeros_like(gradient), torch.zeros_like(gradient))

    def length(self, gradient: Tensor) -> Tensor:
        """‖m̂ ⊘ (√v̂ + ε)‖, Adam's step at a step size of 1, once the gradient has been taken in."""
        self.count += 1
        self.mean.lerp_(gradient, 1 - _BETA1)
        self.square.mul_(_BETA2).addcmul_(gradient, gradient, value=1 - _BETA2)
        root = (self.square / (1 - _BETA2**self.count)).sqrt_().add_(_EPSILON)
        length: Tensor = torch.linalg.vector_norm((self.mean / (1 - _BETA1**self.count)).div_(root))
        return length
