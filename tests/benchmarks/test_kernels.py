"""What each method costs on the paper's networks, by the parts of an iteration.

    pytest tests/benchmarks/test_kernels.py            (-k 'not faces' leaves the largest out)

One table for each network and part. `step` holds 20 whole iterations, forward and backward pass and one refresh
included, so that its rows can be read against Adam's and SGD's; the other parts are one refresh's, of all layers, on a
quarter of the batch. The rows of a table follow one another: on a busy host, only test_bars.py's ratios are safe.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
import torch

from kfsvd.optimizers import OPTIMIZERS
from tests.benchmarks.networks import DAMPING, METHODS, NETWORKS, fits, inverses
from tests.benchmarks.steady import Loop

if TYPE_CHECKING:
    from torch import nn

    from kfsvd import Curvature, LayerSamples

REFRESH_EVERY = 20
ROUNDS = {"curves": 3, "mnist": 2, "faces": 1}

pytestmark = pytest.mark.usefixtures("one_thread")
over_networks = pytest.mark.parametrize("network", NETWORKS)
over_methods = pytest.mark.parametrize("method", METHODS)


@cache
def samples(network: str) -> dict[str, LayerSamples]:
    return NETWORKS[network].capture(NETWORKS[network].model())


@cache
def fitted(network: str, method: str) -> dict[str, Curvature]:
    return fits(method, samples(network))


def optimizer(method: str, model: nn.Module, likelihood: str) -> torch.optim.Optimizer:
    """With steps too small to lead anywhere."""
    if method == "adam":
        return torch.optim.Adam(model.parameters(), lr=1e-5)
    if method == "sgd":
        return torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9)
    name, options = METHODS[method]
    own: dict[str, Any] = {"lr": 1e-5, "damping": DAMPING, "refresh_every": REFRESH_EVERY, "curvature_batch": 0.25}
    return OPTIMIZERS[name](model, likelihood, **own, **options)


def iteration(network: str, method: str) -> Loop:
    """A training loop whose first iteration, which refreshes the curvature, is made."""
    net = NETWORKS[network]
    model = net.model()
    made = Loop(net, model, net.data(), optimizer(method, model, net.likelihood))
    made.iterate()
    return made


@over_networks
def test_statistics(benchmark: Any, network: str) -> None:
    """The capture, which all methods have in common."""
    net = NETWORKS[network]
    model = net.model()
    benchmark.group = f"{network}: statistics"
    benchmark.pedantic(net.capture, (model,), rounds=2 * ROUNDS[network], warmup_rounds=1)


@over_methods
@over_networks
def test_fit(benchmark: Any, network: str, method: str) -> None:
    benchmark.group = f"{network}: fit"
    benchmark.pedantic(fits, (method, samples(network)), rounds=ROUNDS[network], warmup_rounds=1)


@over_methods
@over_networks
def test_inverse(benchmark: Any, network: str, method: str) -> None:
    """By the method's default rule; EKFAC's eigendecompositions are part of its fit."""
    benchmark.group = f"{network}: inverse"
    curvature = fitted(network, method)
    benchmark.pedantic(inverses, (method, curvature), rounds=ROUNDS[network], warmup_rounds=int(network != "faces"))


@over_methods
@over_networks
def test_precondition(benchmark: Any, network: str, method: str) -> None:
    benchmark.group = f"{network}: precondition"
    prepared = inverses(method, fitted(network, method))
    gradients = {name: torch.randn(curvature.shape) for name, curvature in fitted(network, method).items()}

    def apply() -> None:
        for name, inverse in prepared.items():
            inverse(gradients[name])

    benchmark.pedantic(apply, rounds=4 * ROUNDS[network], warmup_rounds=1)


@pytest.mark.parametrize("method", ["adam", "sgd", *METHODS])
@over_networks
def test_step(benchmark: Any, network: str, method: str) -> None:
    benchmark.group = f"{network}: step (20 iterations, one refresh)"
    loop = iteration(network, method)

    def iterations() -> None:
        for _ in range(REFRESH_EVERY):
            loop.iterate()

    benchmark.pedantic(iterations, rounds=ROUNDS[network])
