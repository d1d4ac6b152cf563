"""A small network in float64, and samples of its Fisher matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from kfsvd import capture

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kfsvd import LayerSamples

INPUTS = torch.randn(60, 5, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def network(seed: int = 0) -> nn.Sequential:
    """5 → 8 → 6 → 3 in tanh."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3)).double()


def sample(model: nn.Module) -> Mapping[str, LayerSamples]:
    """The model's Fisher matrix on `INPUTS`, by its factors."""
    return capture(model, [INPUTS], "gaussian", torch.Generator(), fisher="exact")


def parameters(model: nn.Module) -> list[Tensor]:
    """Copies of all parameters."""
    return [parameter.detach().clone() for parameter in model.parameters()]


def weights(model: nn.Module) -> Tensor:
    """All weights of linear layers in one row."""
    return torch.cat([m.weight.detach().flatten() for m in model.modules() if isinstance(m, nn.Linear)])
