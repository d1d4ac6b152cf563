"""Magnitude pruning: the smallest weights go, the others stay as they are; the baseline of every method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from kfsvd.compression.base import Pruning, Removal

if TYPE_CHECKING:
    from torch import Tensor

    from kfsvd.network.samples import LayerSamples
    from kfsvd.options.choices import Structure


@dataclass(frozen=True, eq=False)
class _Removal(Removal):
    weights: Tensor
    columns: int

    def costs(self, structure: Structure) -> Tensor:
        squares = self.weights[:, : self.columns].double().square() / 2
        return squares if structure == "element" else squares.sum(1 if structure == "row" else 0)

    def change(self, gone: Tensor) -> Tensor:
        return torch.where(gone, -self.weights, torch.zeros_like(self.weights))


@dataclass(frozen=True)
class Magnitude(Pruning):
    """Costs ½ ‖w_K‖², as of a Fisher matrix that is the identity; nothing is made up for."""

    name = "magnitude"
    sampled = False

    def removal(self, weights: Tensor, columns: int, samples: LayerSamples | None) -> Removal:
        """Of the weights alone."""
        return _Removal(weights, columns)
