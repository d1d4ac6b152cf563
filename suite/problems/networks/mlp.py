"""A fully connected classifier."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from suite.problems.networks.base import Network, Widths, activation_module

if TYPE_CHECKING:
    from torch import nn


class MLP(Network):
    """A multi-layer perceptron; without hidden layers, logistic regression."""

    reconstructs: ClassVar[bool] = False

    kind: Literal["mlp"]
    hidden: Widths = Field(description="widths of the hidden layers; may be empty")

    def layers(self, inputs: tuple[int, ...], outputs: int) -> dict[str, nn.Module]:
        """`linear1`, `activation1`, …, the last one linear."""
        from torch import nn

        (pixels,) = inputs
        widths = [pixels, *self.hidden, outputs]
        layers: dict[str, nn.Module] = {}
        for index, (before, after) in enumerate(itertools.pairwise(widths), start=1):
            layers[f"linear{index}"] = nn.Linear(before, after)
            if index <= len(self.hidden):
                layers[f"activation{index}"] = activation_module(self.activation)
        return layers
