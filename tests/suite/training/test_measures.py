"""What is measured with the clock stopped is right, and leaves no trace in the training."""

from __future__ import annotations

import copy
import itertools
import math
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

import kfsvd
from kfsvd.inverse.low_rank import LowRankInverse
from suite.problems import Folders
from suite.problems.problem import load_problem
from suite.training import loop as training
from suite.training.loop import Training
from suite.training.measures import fisher_errors, inverse_ranks, mean_loss
from tests.suite.helpers import SMALL
from tests.suite.stores import matrix_of
from tests.suite.training.test_loop import ticking

if TYPE_CHECKING:
    from pathlib import Path

    from suite.cell import Cell
    from suite.records import FisherError, Iteration

NAMES = tuple(kfsvd.APPROXIMATIONS)
LAYERS = ["linear1", "linear2", "linear3", "linear4"]
ASKING = SMALL.replace("fisher_samples: 32", f"fisher_samples: 32, fisher_approximations: [{', '.join(NAMES)}]")


def cell_of(folder: Path, optimizer: str, text: str = ASKING) -> Cell:
    return next(c for c in matrix_of(folder, text).cells if (c.optimizer, c.seed) == (optimizer, 1))


def run_of(cell: Cell) -> Training:
    return Training(cell, load_problem(cell.problem, Folders.default()), torch.device("cpu"))


def trained(cell: Cell) -> tuple[Training, list[Iteration], list[FisherError]]:
    """A cell trained to its end with its steps and Fisher errors."""
    return recorded(run_of(cell))


def recorded(run: Training) -> tuple[Training, list[Iteration], list[FisherError]]:
    records = list(run)
    return run, [row for r in records for row in r.iterations], [row for r in records for row in r.fisher_errors]


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_every_approximation_is_measured_on_every_layer_at_every_interval(tmp_path: Path, optimizer: str) -> None:
    _, _, errors = trained(cell_of(tmp_path, optimizer, ASKING.replace("iterations: 60", "iterations: 40")))
    found = [(row.iteration, row.layer, row.approximation) for row in errors]
    assert found == list(itertools.product([30, 40], LAYERS, NAMES)), "at the interval, and at the end"
    assert not any(row.own for row in errors)
    assert {row.approximation: row.rank for row in errors} == {
        name: {"deflation": 2, "lanczos": 2, "kfac_corrected": 2, "ekfac": None, "exact": None}.get(name, 1)
        for name in NAMES
    }


def test_the_errors_are_the_librarys_on_one_batch_and_fresh_examples(tmp_path: Path) -> None:
    run, _, errors = trained(cell_of(tmp_path, "adam"))
    network, problem = run.network.eval(), run.problem
    examples, labels = torch.Generator().manual_seed(1_000_003 + 60), torch.Generator().manual_seed(60)

    def samples(split: object, count: int) -> dict[str, kfsvd.LayerSamples]:
        inputs, _ = split.batch(torch.randperm(len(split), generator=examples)[:count])  # type: ignore[attr-defined,arg-type]
        return kfsvd.capture(network, [inputs], "bernoulli", labels)

    held_out, in_batch = samples(problem.test, 32), samples(problem.train, 16)  # a quarter of batches of 64
    last = [row for row in errors if row.iteration == 60]
    assert len(last) == len(LAYERS) * len(NAMES)
    for row in last:
        inside, outside = in_batch[row.layer], held_out[row.layer]
        fitted = kfsvd.fit(row.approximation, inside)
        assert row.in_batch == pytest.approx(kfsvd.relative_error(inside, fitted), rel=1e-9)
        assert row.held_out == pytest.approx(kfsvd.relative_error(outside, fitted), rel=1e-9)
        assert row.spectrum == pytest.approx(kfsvd.spectrum_error(inside, fitted), rel=1e-6)
        if row.rank is None:
            assert math.isnan(row.best_in_batch + row.best_held_out), "no sum of so many products"
            continue
        assert row.best_in_batch == pytest.approx(kfsvd.best_relative_error(inside, row.rank), rel=1e-9)
        assert row.best_held_out == pytest.approx(kfsvd.best_relative_error(outside, row.rank), rel=1e-9)


@pytest.mark.parametrize("method", ["kfac", "kpsvd", "exact", "two_level_kfac"])
def test_the_efficiency_is_that_of_the_dense_matrix(tmp_path: Path, method: str) -> None:
    label = method if f"method: {method}," in SMALL else "kpsvd"  # which makes room for those that are not there
    run, _, errors = trained(cell_of(tmp_path, label, SMALL.replace(f"method: {label}", f"method: {method}")))
    network, problem, found = run.network.eval(), run.problem, run.optimizer
    assert isinstance(found, kfsvd.NaturalGradient)
    examples, labels = torch.Generator().manual_seed(1_000_003 + 60), torch.Generator().manual_seed(60)
    inputs, _ = problem.test.batch(torch.randperm(len(problem.test), generator=examples)[:32])
    held_out = kfsvd.capture(network, [inputs], "bernoulli", labels)
    again = torch.Generator().manual_seed(1_000_003 + 60)
    batch = problem.train.batch(torch.randperm(len(problem.train), generator=again)[:2048])
    network.zero_grad()
    kfsvd.negative_log_likelihood("bernoulli", network(batch[0]), batch[1]).mean().backward()
    gradients = {}
    for name, layer in found.layers().items():
        assert layer.weight.grad is not None
        assert layer.bias is not None
        assert layer.bias.grad is not None
        gradients[name] = torch.cat([layer.weight.grad, layer.bias.grad[:, None]], 1)
    if method == "exact":
        directions = kfsvd.natural_gradient(found.samples(), gradients, 1.0)
    elif method == "two_level_kfac":
        directions = found.precondition()
    else:
        directions = {name: found.inverses()[name](gradient) for name, gradient in gradients.items()}
    last = [row for row in errors if row.iteration == 60]
    assert [row.layer for row in last] == LAYERS
    for row in last:
        g, d = (v[row.layer].mT.flatten().double() for v in (gradients, directions))
        damped = held_out[row.layer].dense().double() + 1.0 * torch.eye(len(g), dtype=torch.float64)
        expected = (g @ d) ** 2 / (d @ damped @ d) / (g @ torch.linalg.solve(damped, g))
        assert row.efficiency == pytest.approx(float(expected), rel=1e-4)
        assert 0 < row.efficiency < 1


def test_the_guaranteed_order_holds_in_batch(tmp_path: Path) -> None:
    _, _, errors = trained(cell_of(tmp_path, "adam"))
    table: dict[tuple[int, str], dict[str, FisherError]] = {}
    for row in errors:
        table.setdefault((row.iteration, row.layer), {})[row.approximation] = row
    for rows in table.values():
        e = {name: row.in_batch for name, row in rows.items()}
        slack = 1e-6
        assert e["deflation"] == pytest.approx(e["lanczos"], abs=slack)
        assert e["deflation"] == pytest.approx(rows["deflation"].best_in_batch, abs=slack)
        assert e["kpsvd"] == pytest.approx(rows["kpsvd"].best_in_batch, abs=slack)
        assert e["deflation"] <= min(e["kpsvd"], e["kfac_corrected"]) + slack
        assert max(e["kpsvd"], e["kfac_corrected"]) <= e["kfac"] + slack
        assert e["kpsvd"] <= e["tkfac"] + slack
        assert e["ekfac"] <= e["kfac"] + slack
        assert all(row.held_out >= row.best_held_out - slack for row in rows.values() if row.rank is not None)


def test_the_optimum_of_a_rank_is_worked_out_once_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ranks: list[int] = []
    best = kfsvd.best_relative_error

    def counted(samples: kfsvd.LayerSamples, rank: int) -> float:
        ranks.append(rank)
        return best(samples, rank)

    monkeypatch.setattr("suite.training.measures.best_relative_error", counted)
    trained(cell_of(tmp_path, "adam", ASKING.replace("iterations: 60", "iterations: 5")))
    assert sorted(ranks) == sorted([1, 2] * 2 * len(LAYERS)), "in batch and held out"


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "kpsvd"])
def test_measuring_changes_no_step_and_stops_the_clock(
    tmp_path: Path, optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plain").mkdir()
    _, plain, before = trained(cell_of(tmp_path / "plain", optimizer, SMALL))

    run = run_of(cell_of(tmp_path, optimizer))
    pass_by = ticking(run.clock)

    def slowly(*arguments: object, **options: object) -> list[FisherError]:
        pass_by(1e6)
        return fisher_errors(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(training, "fisher_errors", slowly)
    _, steps, errors = recorded(run)
    assert [row.loss for row in steps] == [row.loss for row in plain], "to the last bit"
    assert steps[-1].seconds < 1e6
    own = [row for row in errors if row.own]
    assert own == before, "an optimizer's own errors are the same beside others"
    assert len(errors) == len(own) + 2 * len(LAYERS) * len(NAMES)
    assert {row.approximation for row in own} == ({"kpsvd"} if optimizer == "kpsvd" else set())


def test_all_optimizers_are_measured_on_the_same_examples_of_their_own_weights(tmp_path: Path) -> None:
    cells = [cell_of(tmp_path, optimizer) for optimizer in ("adam", "kpsvd")]
    problem = load_problem(cells[0].problem, Folders.default())
    network = problem.network(1)
    first, second = (
        [r for r in fisher_errors(network, torch.optim.SGD(network.parameters()), problem, cell, 7) if not r.own]
        for cell in cells
    )
    assert first == second
    other = fisher_errors(network, torch.optim.SGD(network.parameters()), problem, cells[0], 8)
    assert [row.in_batch for row in first] != [row.in_batch for row in other], "drawn anew each time"


@pytest.mark.parametrize("mode", [True, False])
def test_measuring_leaves_mode_gradients_and_random_streams_as_they_were(tmp_path: Path, *, mode: bool) -> None:
    cell = cell_of(tmp_path, "adam")
    problem = load_problem(cell.problem, Folders.default())
    network = problem.network(1).train(mode)
    for parameter in network.parameters():
        parameter.grad = torch.full_like(parameter, 3.0)
    stream = torch.random.get_rng_state()
    fisher_errors(network, torch.optim.Adam(network.parameters()), problem, cell, 7)
    mean_loss(network, problem.test, "bernoulli", 10)
    assert all(module.training is mode for module in network.modules())
    assert all(bool((p.grad == 3.0).all()) for p in network.parameters() if p.grad is not None)
    assert all(p.grad is not None for p in network.parameters())
    assert torch.equal(torch.random.get_rng_state(), stream)


def test_a_network_is_evaluated_without_dropout_and_by_its_running_means(tmp_path: Path) -> None:
    problem = load_problem(cell_of(tmp_path, "adam").problem, Folders.default())
    network = nn.Sequential(nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 64))
    network(problem.train.batch(torch.arange(64))[0])  # so that the running means are not those of the test set
    before = copy.deepcopy(network)
    loss = mean_loss(network, problem.test, "bernoulli", None)
    inputs, targets = problem.test.batch(torch.arange(len(problem.test)))
    expected = kfsvd.negative_log_likelihood("bernoulli", copy.deepcopy(before).eval()(inputs), targets).mean()
    assert loss == pytest.approx(expected.item(), rel=1e-6)
    assert all(module.training for module in network.modules())
    assert all(torch.equal(now, then) for now, then in zip(network.buffers(), before.buffers(), strict=True))


def test_a_loss_is_of_as_many_examples_as_are_asked_for(tmp_path: Path) -> None:
    problem = load_problem(cell_of(tmp_path, "adam").problem, Folders.default())
    network, outputs = problem.network(1), []
    network.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    losses = [mean_loss(network, problem.test, "bernoulli", examples) for examples in (10, 10_000, None)]
    assert [len(output) for output in outputs] == [10, len(problem.test), len(problem.test)]
    _, targets = problem.test.batch(torch.arange(10))
    first = kfsvd.negative_log_likelihood("bernoulli", outputs[0], targets).mean()
    assert losses == pytest.approx([first.item(), losses[2], losses[2]], rel=1e-6)


@pytest.mark.parametrize("optimizer", ["adam", "kpsvd"])
def test_a_step_that_ruins_the_weights_is_a_divergence_and_no_error(tmp_path: Path, optimizer: str) -> None:
    cell = cell_of(tmp_path, optimizer, ASKING.replace("fisher_every: 30", "fisher_every: 1"))
    run = Training(cell, load_problem(cell.problem, Folders.default()), torch.device("cpu"))
    step, calls = run.optimizer.step, 0

    def ruinous(*_: object) -> None:
        nonlocal calls
        calls += 1
        step()
        if calls == 3:
            with torch.no_grad():
                next(run.network.parameters()).fill_(float("nan"))

    run.optimizer.step = ruinous  # type: ignore[method-assign,assignment]
    measured = {row.iteration for records in run for row in records.fisher_errors}
    assert run.outcome == "diverged"
    assert measured == {1, 2}


def test_a_dead_layer_has_no_error_and_hurts_no_other(tmp_path: Path) -> None:
    cell = cell_of(tmp_path, "adam", ASKING.replace("activation: tanh", "activation: relu, code: activated"))
    problem = load_problem(cell.problem, Folders.default())
    network = problem.network(1)
    with torch.no_grad():
        network.get_submodule("linear2").bias.fill_(-1e3)  # type: ignore[union-attr,operator]
    rows = fisher_errors(network, torch.optim.Adam(network.parameters()), problem, cell, 7)
    dead = {row.layer for row in rows if row.in_batch != row.in_batch and row.best_held_out != row.best_held_out}
    assert dead == {"linear1", "linear2"}, "no gradient passes the code"
    assert all(row.in_batch >= 0 and row.held_out >= 0 for row in rows if row.layer not in dead)


WIDTHS = {"linear1": (65, 16), "linear2": (17, 4), "linear3": (5, 16), "linear4": (17, 64)}


def test_ranks_are_those_of_the_inverses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kfsvd.inverse.low_rank.SMALL", (0, 0))  # else layers as narrow as these are inverted densely
    cell = cell_of(tmp_path, "kfac", SMALL.replace("damping: 1.0}", "damping: 1.0, inverse: low_rank}"))
    run = run_of(cell)
    assert inverse_ranks(run.optimizer, 0) == [], "before the first step there is no inverse"
    list(run)
    assert isinstance(run.optimizer, kfsvd.NaturalGradient)
    rows, inverses = inverse_ranks(run.optimizer, 60), run.optimizer.inverses()
    assert {row.layer: (row.width_in, row.width_out) for row in rows} == WIDTHS
    low_rank = {layer: inverse for layer, inverse in inverses.items() if isinstance(inverse, LowRankInverse)}
    assert low_rank
    found = {row.layer: (row.iteration, row.inputs, row.outputs, row.bound) for row in rows if row.layer in low_rank}
    assert found == {layer: (60, *inverse.ranks, inverse.bound) for layer, inverse in low_rank.items()}


def test_a_dense_inverse_keeps_all_directions_and_is_exact(tmp_path: Path) -> None:
    options = "damping: 1.0, inverse: low_rank, inverse_tolerance: 1.0e-9}"
    run, _, _ = trained(cell_of(tmp_path, "kfac", SMALL.replace("damping: 1.0}", options)))
    rows = inverse_ranks(run.optimizer, 60)
    assert {row.layer: (row.inputs, row.outputs) for row in rows} == WIDTHS
    assert {row.layer: (row.width_in, row.width_out) for row in rows} == WIDTHS
    assert {row.bound for row in rows} == {0.0}
