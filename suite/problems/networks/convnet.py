"""A small convolutional classifier."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from suite.errors import SuiteError
from suite.problems.networks.base import Network, Widths, activation_module

if TYPE_CHECKING:
    from torch import nn


class ConvNet(Network):
    """3×3 convolutions, each followed by 2×2 max pooling, and one linear layer."""

    reconstructs: ClassVar[bool] = False

    kind: Literal["convnet"]
    channels: Widths = Field(min_length=1, description="channels after each convolution")

    def input_shape(self, image: tuple[int, ...]) -> tuple[int, ...]:
        """One channel in front of the image's height and width."""
        return (1, *image)

    def layers(self, inputs: tuple[int, ...], outputs: int) -> dict[str, nn.Module]:
        """`conv1`, `activation1`, `pool1`, …, `flatten`, `linear`.

        Raises:
            SuiteError: the image is too small to be halved so often.

        """
        from torch import nn

        before, height, width = inputs
        layers: dict[str, nn.Module] = {}
        for index, after in enumerate(self.channels, start=1):
            layers[f"conv{index}"] = nn.Conv2d(before, after, 3, padding=1)
            layers[f"activation{index}"] = activation_module(self.activation)
            layers[f"pool{index}"] = nn.MaxPool2d(2)
            before, height, width = after, height // 2, width // 2
        if not height or not width:
            size, times = f"{inputs[1]}×{inputs[2]}", len(self.channels)
            raise SuiteError(f"an image of {size} pixels cannot be halved {times} times: use fewer convolutions")
        layers["flatten"] = nn.Flatten()
        layers["linear"] = nn.Linear(before * height * width, outputs)
        return layers
