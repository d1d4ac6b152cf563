"""What is measured with the clock stopped: losses over whole sets; exact Fisher errors and kept ranks per layer."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from kfsvd import (
    LowRank,
    NaturalGradient,
    best_relative_error,
    capture,
    direction_efficiency,
    fit,
    measures,
    negative_log_likelihood,
    relative_error,
)
from kfsvd.inverse.low_rank import LowRankInverse
from kfsvd.network.layers import as_matrix, trained_parameters
from suite.records import FisherError, InverseRank

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Tensor, nn
    from torch.optim import Optimizer

    from kfsvd import Curvature, LayerSamples
    from kfsvd.inverse.damped import DampedInverse
    from suite.cell import Cell
    from suite.problems import Problem, Split

_CHUNK = 2048  # examples of one forward pass


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """The network in evaluation mode, and as it was on the way out."""
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)


@torch.no_grad()
def mean_loss(network: nn.Module, split: Split, likelihood: str, examples: int | None) -> float:
    """The mean negative log-likelihood of the first `examples` of a split (all if None), in nats per example."""
    n = len(split) if examples is None else min(examples, len(split))
    total = 0.0
    with evaluating(network):
        for start in range(0, n, _CHUNK):
            inputs, targets = split.batch(torch.arange(start, min(start + _CHUNK, n)))
            total += negative_log_likelihood(likelihood, network(inputs), targets).double().sum().item()
    return total / n


def fisher_errors(
    network: nn.Module, optimizer: Optimizer, problem: Problem, cell: Cell, iteration: int, *, spectra: bool = False
) -> list[FisherError]:
    """Every layer's errors at the present weights: of the optimizer's own F̂, and of the approximations to measure.

    The optimizer's own, where it has one, is held against the batch that it was last fitted to; the approximations
    that the cell's `measure` names are fitted to one batch of training examples. All are held against the same fresh
    test examples. Both are drawn anew each time from generators seeded by (seed, iteration), so that every optimizer
    of a paired comparison is measured on the same ones.

    Beside the errors of the optimizer's own F̂ stands the efficiency of its direction Δ: the decrease of the quadratic
    model with the held-out F and the optimizer's λ that it attains, of the most that is possible; for the gradient of
    the loss over training examples, layer by layer.

    With `spectra` the sorted spectra of the fitted ones are compared as well, which takes far longer than all else.
    """
    measure = cell.measure
    if not isinstance(optimizer, NaturalGradient) and not measure.fisher_approximations:
        return []
    sampler = _Sampler(network, problem.likelihood, iteration, cell.seed)
    held_out = sampler.blocks(problem.test, measure.fisher_samples)
    rows = []
    if isinstance(optimizer, NaturalGradient):
        method, samples = cell.method.method, optimizer.samples()
        efficiencies = _efficiencies(network, optimizer, problem, held_out, iteration, cell.seed)
        for layer, approximation in optimizer.approximations().items():
            blocks = _Block(samples[layer]), held_out[layer]
            row = _row(iteration, layer, method, approximation, blocks, own=True)
            rows.append(row._replace(efficiency=efficiencies.get(layer, math.nan)))
    if measure.fisher_approximations:
        in_batch = sampler.blocks(problem.train, measure.fisher_examples(problem.batch_size))
        for layer, block in in_batch.items():
            for name in measure.fisher_approximations:
                blocks = block, held_out[layer]
                approximation = fit(name, block.samples)
                row = _row(iteration, layer, name, approximation, blocks, own=False)
                rows.append(row._replace(spectrum=block.spectrum_error(approximation)) if spectra else row)
    return rows


def _efficiencies(
    network: nn.Module,
    optimizer: NaturalGradient,
    problem: Problem,
    held_out: Mapping[str, _Block],
    iteration: int,
    seed: int,
) -> dict[str, float]:
    """`direction_efficiency` of each layer's Δ with the inverses as they stand; NaN where it or a gradient vanishes."""
    if not optimizer.inverses():
        return {}
    generator = torch.Generator().manual_seed(1_000_003 * seed + iteration)
    chosen = torch.randperm(len(problem.train), generator=generator)[:_CHUNK]
    inputs, targets = problem.train.batch(chosen)
    layers, damping = optimizer.layers(), optimizer.param_groups[0]["damping"]
    parameters = {name: trained_parameters(layer) for name, layer in layers.items()}
    with evaluating(network):
        loss = negative_log_likelihood(problem.likelihood, network(inputs), targets).mean()
        parts = iter(torch.autograd.grad(loss, [p for own in parameters.values() for p in own]))
    gradients = {name: [next(parts) for _ in own] for name, own in parameters.items()}
    with _gradients([p for own in parameters.values() for p in own], [g for own in gradients.values() for g in own]):
        directions = optimizer.precondition()
    return {
        name: _efficiency(held_out[name].samples, as_matrix(layers[name], gradients[name]), direction, damping)
        for name, direction in directions.items()
    }


@contextmanager
def _gradients(parameters: Sequence[Tensor], gradients: Sequence[Tensor]) -> Iterator[None]:
    """Parameters with other gradients, and with their own on the way out."""
    own = [parameter.grad for parameter in parameters]
    try:
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        yield
    finally:
        for parameter, kept in zip(parameters, own, strict=True):
            parameter.grad = kept


def _efficiency(samples: LayerSamples, gradient: Tensor, direction: Tensor, damping: float) -> float:
    try:
        return direction_efficiency({"": samples}, {"": gradient}, {"": direction}, damping)
    except ValueError:  # a dead layer
        return math.nan


def inverse_ranks(optimizer: Optimizer, iteration: int) -> list[InverseRank]:
    """What every layer's inverse keeps, as last prepared; nothing where inverses of low rank are not asked for."""
    if not isinstance(optimizer, NaturalGradient) or not isinstance(optimizer.inverse, LowRank):
        return []
    inverses = optimizer.inverses()
    return [
        _kept(iteration, layer, inverses[layer], curvature.shape)
        for layer, curvature in optimizer.approximations().items()
        if layer in inverses
    ]


def _kept(iteration: int, layer: str, inverse: DampedInverse, shape: tuple[int, int]) -> InverseRank:
    width_out, width_in = shape
    if isinstance(inverse, LowRankInverse):
        return InverseRank(iteration, layer, *inverse.ranks, width_in, width_out, inverse.bound)
    return InverseRank(iteration, layer, width_in, width_out, width_in, width_out, 0.0)


def _row(
    iteration: int, layer: str, name: str, approximation: Curvature, blocks: tuple[_Block, _Block], *, own: bool
) -> FisherError:
    """The errors of a layer's approximation; `blocks`: the layer's block in batch and held out."""
    in_batch, held_out = blocks
    return FisherError(
        iteration=iteration,
        layer=layer,
        approximation=name,
        own=own,
        rank=approximation.rank,
        in_batch=in_batch.error(approximation),
        held_out=held_out.error(approximation),
        best_in_batch=in_batch.best(approximation.rank),
        best_held_out=held_out.best(approximation.rank),
    )


class _Sampler:
    """Draws examples without replacement and samples labels for them, from streams of (seed, iteration)."""

    def __init__(self, network: nn.Module, likelihood: str, iteration: int, seed: int) -> None:
        self.network, self.likelihood = network, likelihood
        self.examples = torch.Generator().manual_seed(1_000_003 * seed + iteration)
        self.labels = torch.Generator(next(network.parameters()).device).manual_seed(iteration)

    def blocks(self, split: Split, examples: int) -> dict[str, _Block]:
        """Every layer's Fisher block on so many examples, by the layer's name."""
        inputs, _ = split.batch(torch.randperm(len(split), generator=self.examples)[:examples])
        with evaluating(self.network):
            samples = capture(self.network, [inputs], self.likelihood, self.labels)
        return {layer: _Block(taken) for layer, taken in samples.items()}


class _Block:
    """A Fisher block, the optimum of each rank worked out once; errors are NaN where it is zero (a dead layer)."""

    def __init__(self, samples: LayerSamples) -> None:
        self.samples = samples
        self.dead = not measures.norm(samples) > 0
        self._best: dict[int, float] = {}

    def error(self, approximation: Curvature) -> float:
        """‖F − F̂‖/‖F‖."""
        return math.nan if self.dead else relative_error(self.samples, approximation)

    def spectrum_error(self, approximation: Curvature) -> float:
        """‖σ(F) − σ(F̂)‖/‖σ(F)‖."""
        return math.nan if self.dead else measures.spectrum_error(self.samples, approximation)

    def best(self, rank: int | None) -> float:
        """The smallest error of any sum of so many Kronecker products; NaN where the form is no such sum."""
        if rank is None:
            return math.nan
        if rank not in self._best:
            self._best[rank] = math.nan if self.dead else best_relative_error(self.samples, rank)
        return self._best[rank]
