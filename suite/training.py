"""The timed training loop: one cell in, a stream of records out; it knows no database.

Paired seeds: for a (data set, seed) every optimizer gets the same initial weights and the same batches in the same
order; an optimizer's own randomness (curvature batches, sampled labels) comes from generators of its own.
"""

from __future__ import annotations

import math
from itertools import count
from typing import TYPE_CHECKING, Literal

from kfsvd import NaturalGradient, negative_log_likelihood
from suite.clock import Clock, synchroniser
from suite.measuring import fisher_errors, mean_loss
from suite.problems import batches
from suite.records import Evaluation, FisherError, Iteration

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from suite.matrix import Cell
    from suite.problems import Problem

Outcome = Literal["done", "diverged"]


class Training:
    """Train one cell; iterate over it for its records.

    Args:
        cell: the optimizer, budget and measurements.
        problem: the data, network and likelihood, loaded on `device`.
        device: where the network is trained.

    """

    def __init__(self, cell: Cell, problem: Problem, device: torch.device) -> None:
        self.cell, self.problem = cell, problem
        self.network = problem.network(cell.seed).to(device)
        self.optimizer = cell.method.build(self.network, problem.likelihood, cell.seed)
        self.clock = Clock(synchroniser(device))
        if isinstance(self.optimizer, NaturalGradient):
            self.optimizer.phase = self.clock.phase
        self.outcome: Outcome = "done"
        """How the training ended; meaningful once the iteration is exhausted."""

    def __iter__(self) -> Iterator[Iteration | Evaluation | FisherError]:
        """One `Iteration` a step; `Evaluation`s and `FisherError`s at their intervals and at the end."""
        budget, measure, problem = self.cell.budget, self.cell.measure, self.problem
        network, optimizer, clock, likelihood = self.network, self.optimizer, self.clock, problem.likelihood
        examples = len(problem.train)
        order = batches(examples, problem.batch_size, self.cell.seed)
        batch_size = min(problem.batch_size, examples)
        limit = math.inf
        yield self._evaluation(0, 0.0)
        for iteration in count(1):
            clock.start()
            inputs, targets = problem.train.batch(next(order))
            optimizer.zero_grad(set_to_none=True)
            loss = negative_log_likelihood(likelihood, network(inputs), targets).mean()
            loss.backward()  # type: ignore[no-untyped-call]
            value = loss.item()
            diverged = not math.isfinite(value) or value > limit
            if not diverged:
                with clock.phase("update"):
                    optimizer.step()
            clock.stop()
            epoch = iteration * batch_size / examples
            yield Iteration(iteration, epoch, value, clock.seconds, clock.cpu_seconds, *clock.phases)
            if iteration == 1:
                limit = budget.diverged_above * value
            last = diverged or (
                (budget.iterations is not None and iteration >= budget.iterations)
                or (budget.epochs is not None and epoch >= budget.epochs)
                or (budget.seconds is not None and clock.seconds >= budget.seconds)
            )
            if last or iteration % measure.loss_every == 0:
                yield self._evaluation(iteration, epoch)
            if measure.fisher_every is not None and (last or iteration % measure.fisher_every == 0) and not diverged:
                yield from self._fisher_errors(iteration)
            if last:
                self.outcome = "diverged" if diverged else "done"
                return

    def _evaluation(self, iteration: int, epoch: float) -> Evaluation:
        problem, limit = self.problem, self.cell.measure.evaluation_examples
        train = mean_loss(self.network, problem.train, problem.likelihood, limit)
        test = mean_loss(self.network, problem.test, problem.likelihood, limit)
        return Evaluation(iteration, epoch, self.clock.seconds, self.clock.cpu_seconds, train, test)

    def _fisher_errors(self, iteration: int) -> Iterator[FisherError]:
        if isinstance(self.optimizer, NaturalGradient):
            samples = self.cell.measure.fisher_samples
            yield from fisher_errors(self.network, self.optimizer, self.problem, samples, iteration, self.cell.seed)
