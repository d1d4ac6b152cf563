"""The loop: which bound ends it, what it keeps when something goes wrong, what stops its clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from suite.problems import Folders
from suite.problems.problem import load_problem
from suite.training import loop as module
from suite.training.loop import Training
from suite.training.measures import inverse_ranks
from tests.suite.helpers import SMALL
from tests.suite.stores import matrix_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from suite.cell import Cell
    from suite.records import InverseRank, Iteration, Records
    from suite.training.clock import Clock


@pytest.fixture
def cell(tmp_path: Path) -> Cell:
    return next(c for c in matrix_of(tmp_path).cells if c.optimizer == "sgd")


def training_of(cell: Cell, **budget: float | None) -> Training:
    bounds = {"iterations": None, "epochs": None, "seconds": None} | budget
    cell = cell.changed(budget=cell.budget.model_copy(update=bounds))
    return Training(cell, load_problem(cell.problem, Folders.default()), torch.device("cpu"))


def ticking(clock: Clock) -> Callable[[float], None]:
    """Let a clock tick a second at every look, and otherwise only as far as it is moved on by hand."""
    now = 0.0

    def pass_by(seconds: float) -> None:
        nonlocal now
        now += seconds

    def edge() -> float:
        pass_by(1.0)
        return now

    clock.edge = edge
    return pass_by


def steps(batches: list[Records]) -> list[Iteration]:
    return [row for records in batches for row in records.iterations]


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        ({"iterations": 7}, 7),
        ({"epochs": 1.0}, 23),  # 1,437 examples, batches of 64: the 23rd completes the epoch
        ({"epochs": 0.5}, 12),
        ({"iterations": 30, "epochs": 1.0}, 23),
        ({"iterations": 5, "epochs": 1.0, "seconds": 60.0}, 5),
    ],
)
def test_the_first_bound_ends_training(cell: Cell, budget: dict[str, float], expected: int) -> None:
    training = training_of(cell, **budget)
    rows = steps(list(training))
    assert [row.iteration for row in rows] == list(range(1, expected + 1))
    assert training.outcome == "done"


def test_seconds_are_those_of_the_training_clock(cell: Cell) -> None:
    training = training_of(cell, seconds=0.2)
    rows = steps(list(training))
    assert rows[-1].seconds >= 0.2 > rows[-2].seconds


def test_evaluation_stops_the_clock(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    training = training_of(cell, iterations=40)
    pass_by, evaluate, evaluated = ticking(training.clock), training._evaluation, []

    def slowly(iteration: int, epoch: float) -> object:
        pass_by(1e6)
        evaluated.append(iteration)
        return evaluate(iteration, epoch)

    monkeypatch.setattr(training, "_evaluation", slowly)
    rows = steps(list(training))
    assert evaluated == [0, 20, 40]
    assert [row.seconds for row in rows] == [2.0 * row.iteration for row in rows], "two ticks an iteration"


def test_what_is_measured_before_an_error_is_handed_over_first(cell: Cell) -> None:
    training = training_of(cell, iterations=50)
    step, calls = training.optimizer.step, 0

    def fail_at_ten(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 10:
            raise ArithmeticError("the tenth")
        return step()

    training.optimizer.step = fail_at_ten  # type: ignore[method-assign,assignment]
    batches: list[Records] = []
    with pytest.raises(ArithmeticError, match="the tenth"):
        batches.extend(training)
    assert [row.iteration for row in steps(batches)] == list(range(1, 10))


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), 1e9])
def test_a_loss_that_is_not_finite_or_beyond_the_limit_ends_it_as_diverged(cell: Cell, poison: float) -> None:
    training = training_of(cell, iterations=50)
    step, calls = training.optimizer.step, 0

    def poisoned(*_: object) -> None:
        nonlocal calls
        calls += 1
        step()
        if calls == 5:
            with torch.no_grad():
                next(training.network.parameters()).fill_(poison)
                for parameter in training.network.parameters():
                    parameter.mul_(poison)

    training.optimizer.step = poisoned  # type: ignore[method-assign,assignment]
    rows = steps(list(training))
    assert training.outcome == "diverged"
    assert len(rows) == 6
    assert not rows[-1].loss <= 10 * rows[0].loss
    assert calls == 5, "no step is taken on a diverged loss"


def test_the_limit_of_a_loss_is_a_multiple_of_the_first(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of losses 2, 20 and 20.5 at ten times the first: the last is beyond."""
    losses = iter([2.0, 20.0, 20.5])

    class Given:
        def negative_log_likelihood(self, outputs: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
            return 0 * outputs.sum(1) + next(losses)

    monkeypatch.setattr(module, "likelihood_named", lambda _: Given())
    training = training_of(cell, iterations=50)
    assert [row.loss for row in steps(list(training))] == [2.0, 20.0, 20.5]
    assert training.outcome == "diverged"


def test_the_global_random_stream_does_not_matter(cell: Cell) -> None:
    losses = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        losses.append([row.loss for row in steps(list(training_of(cell, iterations=5)))])
    assert losses[0] == losses[1]


def test_an_optimizer_may_have_a_batch_size_of_its_own(cell: Cell) -> None:
    larger = cell.changed(method=cell.method.model_copy(update={"batch_size": 300}))
    rows = steps(list(training_of(larger, epochs=1.0)))
    assert len(rows) == 5  # 1,437 examples
    assert rows[0].epoch == pytest.approx(300 / 1437)
    assert "batch_size" not in cell.definition["method"]
    assert larger.definition["method"]["batch_size"] == 300
    assert larger.key != cell.key


LOW_RANK = SMALL.replace("method: kpsvd,", "method: kpsvd, inverse: low_rank, inverse_tolerance: 3,")


def test_ranks_are_recorded_at_every_evaluation_with_the_clock_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = {c.optimizer: c for c in matrix_of(tmp_path, LOW_RANK).cells}
    training = training_of(cells["kpsvd"], iterations=50)
    pass_by = ticking(training.clock)

    def slowly(*arguments: object) -> list[InverseRank]:
        pass_by(1e6)
        return inverse_ranks(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "inverse_ranks", slowly)
    batches = list(training)
    assert training.clock.seconds < 1e6
    ranks = [row for records in batches for row in records.inverse_ranks]
    layers = ["linear1", "linear2", "linear3", "linear4"]
    assert [(row.iteration, row.layer) for row in ranks] == [(i, layer) for i in (20, 40, 50) for layer in layers]


def test_optimizers_without_inverses_of_low_rank_record_no_ranks(tmp_path: Path) -> None:
    for cell in matrix_of(tmp_path, LOW_RANK).cells:
        if cell.optimizer != "kpsvd" and cell.seed == 0:
            assert not any(records.inverse_ranks for records in training_of(cell, iterations=3))


def test_ranks_that_were_measured_before_an_error_are_handed_over(tmp_path: Path) -> None:
    cell = next(c for c in matrix_of(tmp_path, LOW_RANK).cells if c.optimizer == "kpsvd")
    training = training_of(cell, iterations=50)
    step = training.optimizer.step

    def fail_at_thirty(*_: object) -> None:
        step()
        if training.optimizer._iteration >= 30:  # however often records were handed over  # type: ignore[attr-defined]
            raise ArithmeticError

    training.optimizer.step = fail_at_thirty  # type: ignore[method-assign,assignment]
    batches: list[Records] = []
    with pytest.raises(ArithmeticError):
        batches.extend(training)
    assert {row.iteration for records in batches for row in records.inverse_ranks} == {20}
