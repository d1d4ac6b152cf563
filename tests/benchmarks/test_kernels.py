"""What each method costs on the paper's networks, by the parts of an iteration.

    pytest tests/benchmarks/test_kernels.py            (-k 'not faces' leaves the largest out)

One table for each network and part. `step` holds 20 whole iterations, forward and backward pass and one refresh
included, so that its rows can be read against Adam's and SGD's; the other parts are one refresh's, of all layers, on a
quarter of the batch. The rows of a table follow one another: on a busy host, only test_bars.py's ratios are safe.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
import torch

from kfsvd.optimizers import OPTIMIZERS, NaturalGradient
from tests.benchmarks.networks import DAMPING, METHODS, NETWORKS, fits, inverses

if TYPE_CHECKING:
    from torch import Tensor, nn

    from kfsvd import Curvature, LayerSamples
    from tests.benchmarks.networks import Network

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


@dataclass(frozen=True)
class Iteration:
    """One whole iteration of a training loop; the first, which refreshes the curvature, is made at once."""

    network: Network
    model: nn.Module
    data: Tensor
    optimizer: torch.optim.Optimizer

    def __call__(self) -> None:
        self.network.backward(self.model, self.data)
        self.optimizer.step()

    def with_refresh(self) -> None:
        """One at which a refresh is due."""
        assert isinstance(self.optimizer, NaturalGradient)
        self.optimizer._iteration = 0
        self()


def iteration(network: str, method: str) -> Iteration:
    net = NETWORKS[network]
    model, data = net.model(), net.data()
    made = Iteration(net, model, data, optimizer(method, model, net.likelihood))
    made()
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
    iterate = iteration(network, method)

    def iterations() -> None:
        for _ in range(REFRESH_EVERY):
            iterate()

    benchmark.pedantic(iterations, rounds=ROUNDS[network])
