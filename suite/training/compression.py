"""One trained network, compressed to every ratio in turn and trained on: losses before and after."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

from kfsvd import capture, negative_log_likelihood
from suite.problems import batches
from suite.records import Compressed, Records
from suite.training.measures import evaluating, mean_loss

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import nn

    from kfsvd import LayerSamples
    from kfsvd.compression.pruning import Sampler
    from suite.cell import Cell
    from suite.problems import Problem
    from suite.spec.compression import Compression

_FRESH = 1_000_003
"""Keeps the draws here apart from those of the training, which start from the cell's seed itself."""


def compressed(cell: Cell, problem: Problem, network: nn.Module) -> Iterator[Records]:
    """Compress copies of `network`; records at the end of each ratio, before it is trained on and after.

    The Fisher matrix is sampled on the same training examples for every method and ratio, with labels from the same
    stream, and the batches of the fine-tuning are the same ones: all of it follows from the cell's seed alone.
    """
    assert cell.compression is not None
    for ratio in cell.compression.outline.ratios:
        smaller = copy.deepcopy(network)
        masks = cell.compression.method.compress(smaller, _sampler(cell.compression, cell, problem), ratio)
        zeros = 0 if masks is None else sum(int((~mask).sum()) for mask in masks.kept.values())
        parameters = sum(parameter.numel() for parameter in smaller.parameters()) - zeros

        def row(iteration: int, network: nn.Module = smaller, ratio: float = ratio, left: int = parameters) -> Records:
            losses = (
                mean_loss(network, split, problem.likelihood, cell.measure.evaluation_examples)
                for split in (problem.train, problem.test)
            )
            return Records([], [], [], compressed=[Compressed(ratio, iteration, left, *losses)])

        yield row(0)
        iterations = cell.compression.outline.fine_tuning
        if iterations:
            optimizer = cell.method.build(smaller, problem.likelihood, cell.seed)
            if masks is not None:
                masks.hold(smaller, optimizer)
            order = batches(len(problem.train), cell.batch_size, _FRESH * (cell.seed + 1))
            for _, indices in zip(range(iterations), order, strict=False):
                inputs, targets = problem.train.batch(indices)
                optimizer.zero_grad(set_to_none=True)
                loss = negative_log_likelihood(problem.likelihood, smaller(inputs), targets).mean()
                if not torch.isfinite(loss):
                    break
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            yield row(iterations)


def _sampler(compression: Compression, cell: Cell, problem: Problem) -> Sampler:
    """Samples of a network's layers, on examples and with labels that follow from the cell's seed and the call."""
    outline, seed = compression.outline, _FRESH * (cell.seed + 1)
    examples = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(problem.train), generator=examples)[: outline.examples]
    inputs, targets = problem.train.batch(chosen)
    labels = torch.Generator(inputs.device).manual_seed(seed)

    def sample(network: nn.Module) -> Mapping[str, LayerSamples]:
        with evaluating(network):
            return capture(network, [inputs], problem.likelihood, labels, fisher=outline.fisher, targets=targets)

    return sample
