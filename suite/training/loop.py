"""The timed training loop: one cell in, a stream of records out; it knows no database.

Paired seeds: for a (data set, seed) every optimizer gets the same initial weights and, at the same batch size, the same
batches in the same order; an optimizer's own randomness (curvature batches, sampled labels) comes from generators of
its own.
"""

from __future__ import annotations

import math
import sys
from time import perf_counter
from typing import TYPE_CHECKING, Literal

from kfsvd import MatrixOptimizer, NaturalGradient
from kfsvd.network.likelihoods import likelihood_named
from suite.problems import batches
from suite.records import Evaluation, FisherError, InverseRank, Iteration, Records
from suite.training.clock import Clock, edges
from suite.training.measures import fisher_errors, inverse_ranks, mean_loss

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from suite.cell import Cell
    from suite.problems import Problem

RECORD_SECONDS = 0.25
"""Records are handed over at least this often while steps are shorter."""

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
        self.clock = Clock(edges(device))
        if isinstance(self.optimizer, NaturalGradient | MatrixOptimizer):
            self.optimizer.phase = self.clock.phase
        if isinstance(self.optimizer, NaturalGradient):
            self.optimizer.keep_samples = cell.measure.fisher_every is not None
        self.outcome: Outcome = "done"
        """How the training ended; meaningful once the iteration is exhausted."""

    def __iter__(self) -> Iterator[Records]:
        """Records, four times a second or so: every step, and the rest at its intervals."""
        budget, measure, problem = self.cell.budget, self.cell.measure, self.problem
        network, optimizer, clock, train = self.network, self.optimizer, self.clock, self.problem.train
        likelihood = likelihood_named(problem.likelihood)
        examples = len(train)
        batch_size = min(self.cell.batch_size, examples)
        steps = math.inf if budget.iterations is None else budget.iterations
        if budget.epochs is not None:
            steps = min(steps, math.ceil(budget.epochs * examples / batch_size))
        seconds = math.inf if budget.seconds is None else budget.seconds
        edge = clock.edge
        limit = sys.float_info.max  # of the loss: infinity and NaN are beyond it
        loss_every, fisher_every = measure.loss_every, measure.fisher_every or math.inf
        # Rows are named only when they are handed over: a small network's step takes half a millisecond.
        rows: list[tuple[float, ...]] = []
        first = 1  # the iteration of the first row
        evaluations, errors, ranks = [self._evaluation(0, 0.0)], list[FisherError](), list[InverseRank]()

        def records() -> Records:
            steps = [Iteration._make((i, i * batch_size / examples, *row)) for i, row in enumerate(rows, start=first)]
            return Records(steps, evaluations, errors, ranks)

        due = perf_counter() + RECORD_SECONDS
        try:
            for iteration, indices in enumerate(batches(examples, batch_size, self.cell.seed), start=1):
                begun = edge()
                inputs, targets = train.batch(indices)
                optimizer.zero_grad(set_to_none=True)
                loss = likelihood.negative_log_likelihood(network(inputs), targets).mean()
                loss.backward()  # type: ignore[no-untyped-call]
                value = loss.item()
                diverged = not value <= limit
                propagated = edge()
                if not diverged:
                    optimizer.step()
                ended = edge()
                rows.append((value, *clock.charge(begun, propagated, ended)))
                if iteration == 1:
                    limit = budget.diverged_above * value
                last = diverged or iteration >= steps or clock.seconds >= seconds
                if last or iteration % loss_every == 0:
                    evaluations.append(self._evaluation(iteration, iteration * batch_size / examples))
                    ranks.extend(self._inverse_ranks(iteration))
                if not diverged and (iteration % fisher_every == 0 or (last and measure.fisher_every is not None)):
                    errors.extend(self._fisher_errors(iteration, last=last))
                if last or ended > due:
                    self.outcome = "diverged" if diverged else "done"
                    yield records()
                    first = iteration + 1
                    rows, evaluations, errors, ranks = [], [], [], []
                    due = perf_counter() + RECORD_SECONDS
                if last:
                    return
        except Exception:
            yield records()  # nothing measured is lost
            raise

    def _evaluation(self, iteration: int, epoch: float) -> Evaluation:
        problem, limit = self.problem, self.cell.measure.evaluation_examples
        with self.clock.excluded():
            train = mean_loss(self.network, problem.train, problem.likelihood, limit)
            test = mean_loss(self.network, problem.test, problem.likelihood, limit)
        return Evaluation(iteration, epoch, self.clock.seconds, self.clock.cpu_seconds, train, test)

    def _fisher_errors(self, iteration: int, *, last: bool) -> list[FisherError]:
        with self.clock.excluded():
            try:
                return fisher_errors(self.network, self.optimizer, self.problem, self.cell, iteration, spectra=last)
            except FloatingPointError:  # outputs that are not finite: the next loss ends the cell as diverged
                return []

    def _inverse_ranks(self, iteration: int) -> list[InverseRank]:
        with self.clock.excluded():
            return inverse_ranks(self.optimizer, iteration)
