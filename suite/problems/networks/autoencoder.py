"""The deep autoencoders of Hinton & Salakhutdinov 2006, the standard problem of second-order optimization."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from suite.problems.networks.base import Activation, Network, activation_module, initialise, set_output_bias

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn


class Autoencoder(Network):
    """A symmetric fully connected autoencoder: the decoder mirrors the encoder."""

    kind: Literal["autoencoder"]
    encoder: list[Annotated[int, Field(ge=1)]] = Field(
        min_length=1, description="widths after each layer of the encoder; the last is the code"
    )
    activation: Activation = Field(default="relu", description="of the hidden layers")
    code: Literal["linear", "activated"] = Field(default="linear", description="whether the code layer has it too")
    output_bias: Literal["mean", "constant"] = Field(
        default="mean", description="the last bias: so that the mean target is predicted, or like the others"
    )
    bias: float = Field(default=0.01, description="initial value of the biases")

    def build(
        self, inputs: tuple[int, ...], outputs: int, output_mean: Tensor, likelihood: str, generator: Generator
    ) -> nn.Module:
        """Layers `linear1`, `activation1`, `linear2`, …; the last one is linear."""
        from torch import nn

        (pixels,) = inputs
        widths = [pixels, *self.encoder, *self.encoder[-2::-1], outputs]
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for index, (wide, narrow) in enumerate(itertools.pairwise(widths), start=1):
            layers[f"linear{index}"] = nn.Linear(wide, narrow)
            is_code = index == len(self.encoder)
            if index < len(widths) - 1 and not (is_code and self.code == "linear"):
                layers[f"activation{index}"] = activation_module(self.activation)
        network = nn.Sequential(layers)
        initialise(network, self.bias, generator)
        if self.output_bias == "mean":
            last = network.get_submodule(f"linear{len(widths) - 1}")
            assert isinstance(last, nn.Linear)
            set_output_bias(last, output_mean, likelihood)
        return network
