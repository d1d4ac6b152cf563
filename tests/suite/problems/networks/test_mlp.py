from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from suite.problems.networks.mlp import MLP


def built(**options: Any) -> nn.Sequential:
    frequencies = torch.tensor([0.2, 0.3, 0.5])
    network = MLP.model_validate({"kind": "mlp", **options})
    return network.build((6,), 3, frequencies, "categorical", torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("hidden", "names"),
    [([], ["linear1"]), ([5, 4], ["linear1", "activation1", "linear2", "activation2", "linear3"])],
)
def test_every_hidden_layer_has_an_activation(hidden: list[int], names: list[str]) -> None:
    assert list(dict(built(hidden=hidden).named_children())) == names


def test_its_widths_are_those_that_are_given() -> None:
    layers = [module for module in built(hidden=[5, 4]) if isinstance(module, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in layers] == [(6, 5), (5, 4), (4, 3)]


def test_its_function_is_that_of_its_layers() -> None:
    network = built(hidden=[5], activation="sigmoid")
    first, last = (module for module in network if isinstance(module, nn.Linear))
    x = torch.rand(4, 6)
    torch.testing.assert_close(network(x), torch.sigmoid(x @ first.weight.T + first.bias) @ last.weight.T + last.bias)


def test_an_unseen_input_has_the_class_frequencies() -> None:
    probabilities = torch.softmax(built(hidden=[])(torch.zeros(1, 6)), -1)
    torch.testing.assert_close(probabilities, torch.tensor([[0.2, 0.3, 0.5]]))


@pytest.mark.parametrize("hidden", [[0], 5, None])
def test_hidden_layers_without_sense_are_refused(hidden: Any) -> None:
    with pytest.raises(ValidationError, match="hidden"):
        built(hidden=hidden)
