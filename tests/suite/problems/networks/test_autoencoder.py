from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from suite.problems.networks.autoencoder import Autoencoder


def built(pixels: int, **options: Any) -> nn.Sequential:
    network = Autoencoder.model_validate({"kind": "autoencoder", **options})
    return network.build((pixels,), pixels, torch.full((pixels,), 0.3), "bernoulli", torch.Generator().manual_seed(0))


def test_the_decoder_mirrors_the_encoder() -> None:
    network = built(20, encoder=[12, 7, 3])
    widths = [(module.in_features, module.out_features) for module in network if isinstance(module, nn.Linear)]
    assert widths == [(20, 12), (12, 7), (7, 3), (3, 7), (7, 12), (12, 20)]


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("linear", ["linear1", "activation1", "linear2", "linear3", "activation3", "linear4"]),
        ("activated", ["linear1", "activation1", "linear2", "activation2", "linear3", "activation3", "linear4"]),
    ],
)
def test_only_the_output_and_a_linear_code_have_no_activation(code: str, names: list[str]) -> None:
    assert list(dict(built(20, encoder=[12, 3], code=code).named_children())) == names


def test_the_code_is_linear_by_default() -> None:
    assert "activation1" not in dict(built(20, encoder=[3]).named_children())


def test_its_function_is_that_of_its_layers() -> None:
    network = built(6, encoder=[5, 2], activation="tanh")
    x = torch.rand(4, 6)
    layers = [module for module in network if isinstance(module, nn.Linear)]
    first, code, third, last = (partial(nn.functional.linear, weight=layer.weight, bias=layer.bias) for layer in layers)
    torch.testing.assert_close(network(x), last(torch.tanh(third(code(torch.tanh(first(x)))))))


@pytest.mark.parametrize(
    ("pixels", "encoder", "parameters"),
    [
        (784, [400, 200, 100, 50, 25, 6], 842_340),  # CURVES
        (784, [1000, 500, 250, 30], 2_837_314),  # MNIST
        (625, [2000, 1000, 500, 30], 7_537_655),  # FACES
    ],
)
def test_the_standard_problems_have_their_sizes(pixels: int, encoder: list[int], parameters: int) -> None:
    widths = [pixels, *encoder]
    pairs = list(itertools.pairwise(widths))
    assert sum(2 * a * b + a + b for a, b in pairs) == parameters
    assert sum(parameter.numel() for parameter in built(pixels, encoder=encoder).parameters()) == parameters


@pytest.mark.parametrize("encoder", [[], [0], [3, -1], [2.5], ["3"], "32", None])
def test_an_encoder_without_sense_is_refused(encoder: Any) -> None:
    with pytest.raises(ValidationError, match="encoder"):
        built(20, encoder=encoder)
