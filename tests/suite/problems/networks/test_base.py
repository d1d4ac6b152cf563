from __future__ import annotations

import math
from typing import Any, get_args

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from suite.problems import NETWORKS
from suite.problems.networks.base import Activation, Network, activation_module, natural_parameter

KINDS: dict[str, dict[str, Any]] = {
    "autoencoder": {"encoder": [40, 20, 6]},
    "mlp": {"hidden": [40, 20]},
    "convnet": {"channels": [4, 8]},
}
IMAGE = (8, 8)


def network_of(kind: str, **options: Any) -> Network:
    return NETWORKS[kind].model_validate({"kind": kind, **KINDS[kind], **options})


def built(
    network: Network, seed: int = 0, likelihood: str = "bernoulli", mean: torch.Tensor | None = None
) -> nn.Module:
    mean = torch.full((64,), 0.3) if mean is None else mean
    generator = torch.Generator().manual_seed(seed)
    return network.build(network.input_shape(IMAGE), len(mean), mean, likelihood, generator)


def weighted(network: nn.Module) -> list[nn.Linear | nn.Conv2d]:
    return [module for module in network.modules() if isinstance(module, nn.Linear | nn.Conv2d)]


def test_every_kind_is_tested() -> None:
    assert sorted(KINDS) == sorted(NETWORKS)


@pytest.mark.parametrize("kind", NETWORKS)
def test_outputs_are_one_row_an_example(kind: str) -> None:
    network = network_of(kind)
    outputs = built(network)(torch.rand(5, *network.input_shape(IMAGE)))
    assert outputs.shape == (5, 64)
    assert outputs.dtype == torch.float32


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("init", ["xavier", "sparse"])
def test_weights_are_a_pure_function_of_the_seed(kind: str, init: str) -> None:
    network = network_of(kind, init=init)
    torch.manual_seed(0)
    first = built(network, seed=3).state_dict()
    torch.manual_seed(1)
    again, other = built(network, seed=3).state_dict(), built(network, seed=4).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first if name.endswith("weight"))


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_global_random_state_is_left_alone(kind: str) -> None:
    before = torch.get_rng_state()
    built(network_of(kind))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", NETWORKS)
def test_xavier_weights_are_uniform_up_to_the_bound_of_their_fans(kind: str) -> None:
    for module in weighted(built(network_of(kind))):
        receptive = module.weight[0, 0].numel()
        fans = (module.weight.shape[0] + module.weight.shape[1]) * receptive
        bound = math.sqrt(6 / fans)
        weights = module.weight.detach().flatten()
        assert weights.abs().max() <= bound
        uniform = (weights / bound + 1) / 2
        distance = (uniform.sort().values - (torch.arange(len(uniform)) + 0.5) / len(uniform)).abs().max()
        assert distance < 1.95 / math.sqrt(len(uniform))  # Kolmogorov–Smirnov at 0.1 %


@pytest.mark.parametrize("kind", NETWORKS)
def test_sparse_units_have_fifteen_standard_normal_weights(kind: str) -> None:
    weights = []
    for module in weighted(built(network_of(kind, init="sparse"))):
        rows = module.weight.detach().flatten(1)
        assert set((rows != 0).sum(1).tolist()) == {min(15, rows.shape[1])}
        weights.append(rows[rows != 0])
    drawn = torch.cat(weights)
    assert abs(drawn.mean()) < 4 / math.sqrt(len(drawn))
    assert abs(drawn.var() - 1) < 4 * math.sqrt(2 / len(drawn))


def test_sparse_connections_reach_every_input() -> None:
    first = weighted(built(network_of("mlp", init="sparse")))[0]
    assert (first.weight != 0).any(dim=0).all()  # 40 units with 15 of 64 inputs each


@pytest.mark.parametrize("kind", NETWORKS)
def test_biases_are_constant(kind: str) -> None:
    for module in weighted(built(network_of(kind, bias=0.25, output_bias="constant"))):
        assert module.bias is not None
        assert (module.bias == 0.25).all()


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_defaults_are_rectified_units_xavier_weights_and_biases_of_a_hundredth(kind: str) -> None:
    network = network_of(kind)
    assert (network.activation, network.init, network.bias, network.output_bias) == ("relu", "xavier", 0.01, "mean")
    *hidden, last = weighted(built(network))
    assert all((module.bias == 0.01).all() for module in hidden if module.bias is not None)
    assert last.bias is not None
    torch.testing.assert_close(last.bias.detach(), torch.full((64,), math.log(0.3 / 0.7)))


@pytest.mark.parametrize(
    ("likelihood", "predict"),
    [
        ("bernoulli", torch.sigmoid),
        ("categorical", lambda outputs: torch.softmax(outputs, -1)),
        ("gaussian", lambda outputs: outputs),
    ],
)
def test_natural_parameters_predict_the_mean(likelihood: str, predict: Any) -> None:
    mean = torch.tensor([0.1, 0.2, 0.7])
    torch.testing.assert_close(predict(natural_parameter(mean, likelihood)), mean)


@pytest.mark.parametrize("likelihood", ["bernoulli", "categorical", "gaussian"])
def test_means_at_the_edge_have_finite_parameters(likelihood: str) -> None:
    assert natural_parameter(torch.tensor([0.0, 1.0]), likelihood).isfinite().all()


def test_without_inputs_the_network_predicts_the_mean() -> None:
    mean = torch.linspace(0.05, 0.95, 64)
    network = built(network_of("mlp", hidden=[]), mean=mean)
    torch.testing.assert_close(torch.sigmoid(network(torch.zeros(1, 64))[0]), mean)


@pytest.mark.parametrize("name", get_args(Activation))
def test_an_activation_is_the_function_of_its_name(name: Activation) -> None:
    x = torch.linspace(-2, 2, 9)
    function = torch.relu if name == "relu" else nn.functional.gelu if name == "gelu" else getattr(torch, name)
    assert torch.equal(activation_module(name)(x), function(x))


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize(
    "option",
    [{"activation": "rleu"}, {"init": "normal"}, {"output_bias": "zero"}, {"bias": "0.1"}, {"width": 3}],
    ids=lambda option: next(iter(option)),
)
def test_a_wrong_option_is_refused(kind: str, option: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(option))):
        network_of(kind, **option)


def test_two_equal_networks_are_one_key() -> None:
    assert hash(network_of("autoencoder")) == hash(network_of("autoencoder", encoder=(40, 20, 6)))
