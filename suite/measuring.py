"""What is measured with the clock stopped: losses over whole sets, and exact Fisher errors per layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from kfsvd import NaturalGradient, best_relative_error, capture, fisher, negative_log_likelihood, relative_error
from suite.records import FisherError

if TYPE_CHECKING:
    from torch import nn

    from kfsvd import Curvature, LayerSamples
    from suite.problems import Problem, Split

_CHUNK = 2048  # examples of one forward pass


@torch.no_grad()
def mean_loss(network: nn.Module, split: Split, likelihood: str, examples: int | None) -> float:
    """The mean negative log-likelihood of the first `examples` of a split (all if None), in nats per example."""
    n = len(split) if examples is None else min(examples, len(split))
    network.eval()
    total = 0.0
    for start in range(0, n, _CHUNK):
        inputs, targets = split.batch(torch.arange(start, min(start + _CHUNK, n)))
        total += negative_log_likelihood(likelihood, network(inputs), targets).double().sum().item()
    network.train()
    return total / n


def fisher_errors(
    network: nn.Module, optimizer: NaturalGradient, problem: Problem, examples: int, iteration: int, seed: int
) -> list[FisherError]:
    """Every layer's error: on the batch that F̂ was fitted to, and on `examples` fresh test examples.

    The test examples are drawn anew each time from a generator seeded by (seed, iteration), so that every method of a
    paired comparison is measured on the same ones.
    """
    device = next(network.parameters()).device
    generator = torch.Generator().manual_seed(1_000_003 * seed + iteration)
    chosen = torch.randperm(len(problem.test), generator=generator)[:examples]
    inputs, _ = problem.test.batch(chosen)
    network.eval()
    labels = torch.Generator(device).manual_seed(iteration)
    held_out = capture(network, [inputs], problem.likelihood, labels, optimizer.layers())
    network.train()
    in_batch = optimizer.samples()
    rows = []
    for name, approximation in optimizer.approximations().items():
        inside, best_inside = _errors(in_batch[name], approximation)
        outside, best_outside = _errors(held_out[name], approximation)
        rows.append(FisherError(iteration, name, approximation.rank or 0, inside, outside, best_inside, best_outside))
    return rows


def _errors(samples: LayerSamples, approximation: Curvature) -> tuple[float, float]:
    """The error of F̂ and the best possible one at its rank.

    NaN where the block is zero (a dead layer), and for the best one where F̂ is no sum of Kronecker products.
    """
    nan = float("nan")
    if not fisher.norm(samples) > 0:
        return nan, nan
    error = relative_error(samples, approximation)
    return error, nan if approximation.rank is None else best_relative_error(samples, approximation.rank)
