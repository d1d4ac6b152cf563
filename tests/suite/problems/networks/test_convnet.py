from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from suite.errors import SuiteError
from suite.problems.networks.convnet import ConvNet


def built(image: tuple[int, int], **options: Any) -> nn.Sequential:
    network = ConvNet.model_validate({"kind": "convnet", **options})
    inputs = network.input_shape(image)
    return network.build(inputs, 3, torch.full((3,), 1 / 3), "categorical", torch.Generator().manual_seed(0))


def test_every_convolution_is_activated_and_pooled() -> None:
    names = list(dict(built((8, 8), channels=[4, 5]).named_children()))
    convolutions = ["conv1", "activation1", "pool1", "conv2", "activation2", "pool2"]
    assert names == [*convolutions, "flatten", "linear"]


def test_its_function_is_that_of_its_layers() -> None:
    network = built((8, 8), channels=[4], activation="tanh")
    convolution, last = network.get_submodule("conv1"), network.get_submodule("linear")
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(last, nn.Linear)
    x = torch.rand(2, 1, 8, 8)
    padded = torch.zeros(2, 1, 10, 10)
    padded[:, :, 1:9, 1:9] = x
    patches = padded.unfold(2, 3, 1).unfold(3, 3, 1)[:, 0]  # (2, 8, 8, 3, 3)
    assert convolution.bias is not None
    hidden = torch.tanh(
        torch.einsum("nhwij,cij->nchw", patches, convolution.weight[:, 0]) + convolution.bias[:, None, None]
    )
    pooled = hidden.reshape(2, 4, 4, 2, 4, 2).amax(dim=(3, 5))
    expected = pooled.flatten(1) @ last.weight.T + last.bias
    torch.testing.assert_close(network(x), expected)


@pytest.mark.parametrize("image", [(8, 8), (28, 28), (25, 25), (9, 6)])
def test_it_takes_images_of_any_size(image: tuple[int, int]) -> None:
    assert built(image, channels=[4, 5])(torch.rand(2, 1, *image)).shape == (2, 3)


@pytest.mark.parametrize("image", [(8, 8), (16, 8)])
def test_an_image_that_cannot_be_halved_so_often_is_an_error(image: tuple[int, int]) -> None:
    size = f"{image[0]}×{image[1]}"
    with pytest.raises(SuiteError, match=f"{size} pixels cannot be halved 4 times"):
        built(image, channels=[2] * 4)
    built(image, channels=[2] * 3)


@pytest.mark.parametrize("channels", [[], [0], 4])
def test_channels_without_sense_are_refused(channels: Any) -> None:
    with pytest.raises(ValidationError, match="channels"):
        built((8, 8), channels=channels)
