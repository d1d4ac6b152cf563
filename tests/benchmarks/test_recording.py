"""What recording costs: the suite's loop, clock, pipe and store against the same loop without them, interleaved."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from kfsvd import negative_log_likelihood
from suite.plan.plan import load_matrix
from suite.problems import Folders, batches
from suite.problems.problem import load_problem
from suite.scheduling.messages import Measured
from suite.store import open_store
from suite.training.loop import Training
from tests.suite.helpers import SMALL
from tests.suite.stores import begin

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from suite.cell import Cell
    from suite.problems import Problem
    from suite.records import Evaluation

ITERATIONS = 500
ROUNDS = 15


def write(connection: Connection, folder: Path, text: str) -> None:
    """The writer's side, as the scheduler does it: receive, append, commit once a second."""
    (folder / "spec.yaml").write_text(text)
    with open_store(f"sqlite:///{folder}/store.sqlite") as store:
        run = begin(store, load_matrix(folder / "spec.yaml").cells[0])
        offset, flushed = 0, time.monotonic()
        while isinstance(message := connection.recv(), Measured):
            rows = [row._replace(iteration=row.iteration + offset) for row in message.records.iterations]
            offset = rows[-1].iteration if rows else offset
            store.append(run, message.records._replace(iterations=rows, evaluations=[]))
            if time.monotonic() - flushed > 1:
                store.flush()
                flushed = time.monotonic()
        store.flush()


def plain(cell: Cell, problem: Problem) -> float:
    """Seconds of the bare loop."""
    network = problem.network(cell.seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.003)
    order = batches(len(problem.train), problem.batch_size, cell.seed)
    start = time.perf_counter()
    for _ in range(ITERATIONS):
        inputs, targets = problem.train.batch(next(order))
        optimizer.zero_grad(set_to_none=True)
        loss = negative_log_likelihood("bernoulli", network(inputs), targets).mean()
        loss.backward()
        optimizer.step()
    return time.perf_counter() - start


def recorded(cell: Cell, problem: Problem, connection: Connection) -> float:
    """Seconds of the suite's loop up to the pipe, the evaluations at its two ends left out."""
    training = Training(cell, problem, torch.device("cpu"))
    evaluate, outside = training._evaluation, 0.0

    def timed(iteration: int, epoch: float) -> Evaluation:
        nonlocal outside
        begun = time.perf_counter()
        evaluation = evaluate(iteration, epoch)
        outside += time.perf_counter() - begun
        return evaluation

    training._evaluation = timed  # type: ignore[method-assign]
    start = time.perf_counter()
    for records in training:
        connection.send(Measured(1, records))
    return time.perf_counter() - start - outside


def test_recording_costs_under_two_percent(tmp_path: Path) -> None:
    """Paired rounds, each the bare and the recorded loop in turn; the median of their ratios."""
    torch.set_num_threads(1)
    quickstart = Path(__file__).parents[2] / "specs" / "quickstart.yaml"
    cell = load_matrix(quickstart, "dataset=digits,optimizer=adam,seed=0").cells[0]
    budget = cell.budget.model_copy(update={"iterations": ITERATIONS, "seconds": None})
    cell = cell.changed(budget=budget, measure=cell.measure.model_copy(update={"loss_every": 10**6}))
    problem = load_problem(cell.problem, Folders.default())
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    writer = context.Process(target=write, args=(theirs, tmp_path, SMALL))
    writer.start()
    ratios = []
    plain(cell, problem)
    recorded(cell, problem, ours)
    for round_number in range(ROUNDS):
        if round_number % 2:
            bare, full = plain(cell, problem), recorded(cell, problem, ours)
        else:
            full, bare = recorded(cell, problem, ours), plain(cell, problem)
        ratios.append(full / bare)
    ours.send(None)
    writer.join(30)
    print(f"\nrecorded / bare over {ROUNDS} rounds: median {statistics.median(ratios):.4f}, {sorted(ratios)}")
    assert statistics.median(ratios) < 1.02
