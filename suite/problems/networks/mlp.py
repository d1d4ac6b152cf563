"""A fully connected network with a single output layer: a classifier, or a regression."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from suite.problems.networks.base import Activation, Network, activation_module, initialise

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn


class MLP(Network):
    """A multi-layer perceptron."""

    kind: Literal["mlp"]
    hidden: list[Annotated[int, Field(ge=1)]] = Field(description="widths of the hidden layers; may be empty")
    activation: Activation = Field(default="relu", description="of the hidden layers")
    bias: float = Field(default=0.01, description="initial value of the biases")

    def build(
        self, inputs: tuple[int, ...], outputs: int, output_mean: Tensor, likelihood: str, generator: Generator
    ) -> nn.Module:
        """Layers `linear1`, `activation1`, …, the last one linear."""
        from torch import nn

        (pixels,) = inputs
        widths = [pixels, *self.hidden, outputs]
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for index, (wide, narrow) in enumerate(itertools.pairwise(widths), start=1):
            layers[f"linear{index}"] = nn.Linear(wide, narrow)
            if index < len(widths) - 1:
                layers[f"activation{index}"] = activation_module(self.activation)
        network = nn.Sequential(layers)
        initialise(network, self.bias, generator)
        return network
