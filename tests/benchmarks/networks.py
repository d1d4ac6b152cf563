"""The three autoencoders of the founding paper (specs/autoencoders.yaml) with random data, and parts of a refresh."""

from __future__ import annotations

import itertools
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from kfsvd import LayerSamples, capture, fit, negative_log_likelihood
from kfsvd.approximations import approximation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from kfsvd import Curvature
    from kfsvd.inverse.damped import DampedInverse

DAMPING = 1.0
METHODS: dict[str, tuple[str, dict[str, str]]] = {
    "kfac": ("kfac", {}),
    "kpsvd": ("kpsvd", {}),
    "deflation": ("deflation", {}),
    "lanczos": ("lanczos", {}),
    "kfac_corrected": ("kfac_corrected", {}),
    "tkfac": ("tkfac", {}),
    "ekfac": ("ekfac", {}),
    "ekfac-kpsvd": ("ekfac", {"basis": "kpsvd"}),
    "exact": ("exact", {}),
}
"""Every method by its name in the tables: its name in the library, and its options."""


@dataclass(frozen=True)
class Network:
    """An autoencoder's widths, likelihood and batch, as in the paper, and the device that it is on."""

    encoder: tuple[int, ...]
    likelihood: str
    batch: int
    device: str = "cpu"

    def model(self) -> nn.Sequential:
        torch.manual_seed(0)
        widths = [*self.encoder, *self.encoder[-2::-1]]
        layers = [nn.Linear(i, o) for i, o in itertools.pairwise(widths)]
        for layer in layers:
            nn.init.kaiming_normal_(layer.weight)  # so that gradients of deep layers depend on the example
        modules = [module for layer in layers for module in (layer, nn.ReLU())]
        return nn.Sequential(*modules[:-1]).to(self.device)

    def data(self) -> Tensor:
        """Images of 20 random features, in [0, 1]."""
        generator = torch.Generator().manual_seed(1)
        features = torch.randn(20, self.encoder[0], generator=generator)
        return torch.sigmoid(torch.randn(self.batch, 20, generator=generator) @ features).to(self.device)

    def capture(self, model: nn.Module, share: int = 4) -> dict[str, LayerSamples]:
        """Of a curvature batch: a quarter of the batch."""
        inputs = self.data()[: self.batch // share]
        return capture(model, [inputs], self.likelihood, torch.Generator(self.device).manual_seed(2))

    def backward(self, model: nn.Module, data: Tensor) -> None:
        model.zero_grad(set_to_none=True)
        negative_log_likelihood(self.likelihood, model(data), data).mean().backward()


NETWORKS = {
    "curves": Network((784, 400, 200, 100, 50, 25, 6), "bernoulli", 256),
    "mnist": Network((784, 1000, 500, 250, 30), "bernoulli", 512),
    "faces": Network((625, 2000, 1000, 500, 30), "gaussian", 1024),
}


def fits(name: str, samples: Mapping[str, LayerSamples]) -> dict[str, Curvature]:
    method, options = METHODS[name]
    return {layer: fit(method, own, **options) for layer, own in samples.items()}


def inverses(name: str, fitted: Mapping[str, Curvature]) -> dict[str, DampedInverse]:
    """By the method's default rule."""
    rule = approximation(*METHODS[name][:1], **METHODS[name][1]).damping_rules[0]
    return {layer: curvature.inverse(DAMPING, rule=rule) for layer, curvature in fitted.items()}


def seconds(work: Callable[[], object], calls: int = 1) -> float:
    """Of one call, with what it leaves a GPU to do."""
    finish()
    start = time.perf_counter()
    for _ in range(calls):
        work()
    finish()
    return (time.perf_counter() - start) / calls


def finish() -> None:
    """Wait for a GPU, where there is one."""
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()


def ratio(numerator: Callable[[], object], denominator: Callable[[], object], rounds: int, calls: int = 1) -> float:
    """The median of seconds(numerator)/seconds(denominator) over rounds that run both, the order alternating.

    So a host that is slower for a while slows both alike.
    """
    numerator(), denominator()
    ratios = []
    for number in range(rounds):
        if number % 2:
            upper = seconds(numerator, calls)
            ratios.append(upper / seconds(denominator, calls))
        else:
            lower = seconds(denominator, calls)
            ratios.append(seconds(numerator, calls) / lower)
    return statistics.median(ratios)
