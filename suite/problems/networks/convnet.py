"""A small convolutional classifier."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from suite.problems.networks.base import Activation, Network, activation_module, initialise

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn


class ConvNet(Network):
    """3×3 convolutions, each followed by 2×2 max pooling, and one linear layer."""

    kind: Literal["convnet"]
    channels: list[Annotated[int, Field(ge=1)]] = Field(min_length=1, description="channels after each convolution")
    activation: Activation = Field(default="relu", description="behind every convolution")
    bias: float = Field(default=0.01, description="initial value of the biases")

    def input_shape(self, image: tuple[int, ...]) -> tuple[int, ...]:
        """One channel in front of the image's height and width."""
        return (1, *image)

    def build(
        self, inputs: tuple[int, ...], outputs: int, output_mean: Tensor, likelihood: str, generator: Generator
    ) -> nn.Module:
        """Layers `conv1`, `activation1`, `pool1`, …, `flatten`, `linear`.

        Raises:
            SuiteError: the image is too small to be halved so often.

        """
        from torch import nn

        from suite.errors import SuiteError

        _, height, width = inputs
        smallest = min(height, width) >> len(self.channels)
        if smallest < 1:
            raise SuiteError(
                f"an image of {height}×{width} cannot be halved {len(self.channels)} times: fewer channels"
            )
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        before = 1
        for index, after in enumerate(self.channels, start=1):
            layers[f"conv{index}"] = nn.Conv2d(before, after, 3, padding=1)
            layers[f"activation{index}"] = activation_module(self.activation)
            layers[f"pool{index}"] = nn.MaxPool2d(2)
            before = after
        layers["flatten"] = nn.Flatten()
        halvings = len(self.channels)
        layers["linear"] = nn.Linear(before * (height >> halvings) * (width >> halvings), outputs)
        network = nn.Sequential(layers)
        initialise(network, self.bias, generator)
        return network
