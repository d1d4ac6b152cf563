"""What becomes of a trained network: the same one for every method, smaller at every ratio, and trained on."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from suite.methods.compression import COMPRESSORS
from suite.plan.cells import cells, compressions
from suite.problems import Folders
from suite.problems.problem import load_problem
from suite.training.compression import compressed
from suite.training.loop import Training
from suite.training.measures import mean_loss
from tests.suite.compressing import COMPRESSING, METHODS
from tests.suite.specs import changed, loaded

if TYPE_CHECKING:
    from collections.abc import Callable

    from suite.cell import Cell
    from suite.problems import Problem
    from suite.records import Compressed

pytestmark = pytest.mark.usefixtures("working_folder")


def cell_of(method: str, text: str = COMPRESSING) -> Cell:
    spec = loaded(text)
    return next(
        c for c in compressions(spec, cells(spec)) if c.compression is not None and c.compression.label == method
    )


@pytest.fixture
def trained() -> tuple[Problem, nn.Module]:
    cell = cell_of("svd")
    problem = load_problem(cell.problem, Folders.default())
    training = Training(cell, problem, torch.device("cpu"))
    list(training)
    return problem, training.network


def rows(cell: Cell, problem: Problem, network: nn.Module) -> list[Compressed]:
    return [row for records in compressed(cell, problem, network) for row in records.compressed]


@pytest.mark.parametrize("method", METHODS)
def test_losses_of_every_ratio_before_and_after(method: str, trained: tuple[Problem, nn.Module]) -> None:
    problem, network = trained
    before = copy.deepcopy(network.state_dict())
    found = rows(cell_of(method), problem, network)
    assert all(torch.equal(a, b) for a, b in zip(before.values(), network.state_dict().values(), strict=True))
    assert [(row.ratio, row.iteration) for row in found] == [(1.0, 0), (1.0, 10), (0.4, 0), (0.4, 10)]
    assert found[0].train_loss == mean_loss(network, problem.train, problem.likelihood, None)
    assert found[0].test_loss == mean_loss(network, problem.test, problem.likelihood, None)
    weights = [m.weight.numel() for m in network.modules() if isinstance(m, nn.Linear)]
    whole = sum(p.numel() for p in network.parameters())
    assert [row.parameters for row in found[:2]] == [whole, whole]
    left = found[2].parameters - (whole - sum(weights))
    assert found[3].parameters == found[2].parameters
    assert 0.4 * sum(weights) - 1 <= left < 0.4 * sum(weights) + 4 * 80  # a row, or a rank of every layer
    assert found[2].train_loss > found[0].train_loss
    assert found[3].train_loss < found[2].train_loss
    assert rows(cell_of(method), problem, network) == found, "the same again, to the last bit"


def test_every_method_is_trained_on_from_the_same_weights_with_the_same_batches(
    trained: tuple[Problem, nn.Module],
) -> None:
    problem, network = trained
    ends = {method: rows(cell_of(method), problem, network)[1] for method in METHODS}
    assert len(set(ends.values())) == 1, "at ratio 1 no method differs"


def test_another_seed_is_trained_on_with_other_batches(trained: tuple[Problem, nn.Module]) -> None:
    problem, network = trained
    cell = cell_of("magnitude")
    one, other = (rows(replace(cell, seed=seed), problem, network) for seed in (0, 1))
    assert one[0] == other[0], "the same network, whole"
    assert one[1] != other[1]


def test_what_is_gone_stays_gone(trained: tuple[Problem, nn.Module], monkeypatch: pytest.MonkeyPatch) -> None:
    problem, network = trained
    seen: list[nn.Module] = []

    def watched(*arguments: object, **keywords: object) -> object:
        smaller = arguments[0]
        assert isinstance(smaller, nn.Module)
        seen.append(smaller)
        return prune(*arguments, **keywords)  # type: ignore[arg-type]

    import kfsvd.compression

    prune: Callable[..., object] = kfsvd.compression.prune
    monkeypatch.setattr(kfsvd.compression, "prune", watched)
    found = rows(cell_of("surgeon-kpsvd"), problem, network)
    zeros = sum(int((m.weight == 0).sum()) for m in seen[-1].modules() if isinstance(m, nn.Linear))
    assert sum(p.numel() for p in network.parameters()) - zeros == found[-1].parameters


@pytest.mark.parametrize(("exclude", "whole"), [(["last"], [-1]), (["first"], [0]), (["first", "last"], [0, -1])])
def test_layers_stay_whole_by_their_place(
    exclude: list[str], whole: list[int], trained: tuple[Problem, nn.Module]
) -> None:
    _, network = trained
    before = [m.weight.clone() for m in network.modules() if isinstance(m, nn.Linear)]
    method = COMPRESSORS["magnitude"].model_validate({"method": "magnitude", "structure": "row", "exclude": exclude})
    masks = method.compress(network, lambda _: {}, 0.4)
    after = [m.weight for m in network.modules() if isinstance(m, nn.Linear)]
    alike = [torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    assert masks is not None
    assert len(masks.kept) == len(before) - len(whole)
    assert all(alike[place] for place in whole)
    assert not all(alike)


@pytest.mark.parametrize(("layers", "why"), [([], "no layer that could be compressed"), ([3], "names every layer")])
def test_a_network_without_layers_to_prune_is_refused(layers: list[int], why: str) -> None:
    method = COMPRESSORS["magnitude"].model_validate({"method": "magnitude", "exclude": ["last"]})
    with pytest.raises(ValueError, match=why):
        method.compress(nn.Sequential(nn.ReLU(), *(nn.Linear(width, 2) for width in layers)), lambda _: {}, 0.5)


def test_without_fine_tuning_there_is_one_row_a_ratio(trained: tuple[Problem, nn.Module]) -> None:
    text = changed("fine_tuning: 10", "fine_tuning: 0", COMPRESSING)
    assert [(row.ratio, row.iteration) for row in rows(cell_of("svd", text), *trained)] == [(1.0, 0), (0.4, 0)]


def test_fine_tuning_that_diverges_is_recorded_as_it_ends(trained: tuple[Problem, nn.Module]) -> None:
    text = changed("adam: {method: adam, lr: 0.003}", "adam: {method: sgd, lr: 1.0e+38}", COMPRESSING)
    found = rows(cell_of("magnitude", text), *trained)
    assert math.isfinite(found[2].train_loss)
    assert not found[3].train_loss < 1e30


@pytest.mark.parametrize("fisher", ["monte_carlo", "exact", "empirical"])
def test_the_fisher_matrix_is_the_librarys_choice(fisher: str, trained: tuple[Problem, nn.Module]) -> None:
    text = changed("examples: 64", f"examples: 64\n  fisher: {fisher}", COMPRESSING)
    losses = [rows(cell_of("gfwsvd", each), *trained)[2].train_loss for each in (COMPRESSING, text)]
    assert (losses[0] == losses[1]) == (fisher == "monte_carlo")
