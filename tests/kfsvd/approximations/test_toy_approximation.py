"""CONTRIBUTING's example of an approximation is all that it takes to add one."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import nn

import kfsvd
from kfsvd.compression import prune
from suite.cost import Rates, step_cost
from suite.methods import METHODS
from suite.methods.card import options
from suite.plan.cells import cells
from suite.problems import Folders, load_problem
from suite.report.figures.palette import colour
from suite.spec.reading import load_spec
from suite.training.loop import Training
from tests.kfsvd import oracle
from tests.kfsvd.conftest import make_samples

PAGE = (Path(__file__).parents[3] / "CONTRIBUTING.md").read_text()


@pytest.fixture
def name(monkeypatch: pytest.MonkeyPatch) -> str:
    """Execute the page's code, and register its class: the one line that the page speaks of."""
    (block,) = re.findall(r"^ *```python\n(.*?)^ *```", PAGE, re.DOTALL | re.MULTILINE)
    namespace: dict[str, object] = {"__name__": "toy"}
    exec(compile(textwrap.dedent(block), "CONTRIBUTING.md", "exec", dont_inherit=True), namespace)
    (toy,) = (
        value
        for value in namespace.values()
        if isinstance(value, type) and issubclass(value, kfsvd.Approximation) and value.__module__ == "toy"
    )
    monkeypatch.setitem(kfsvd.APPROXIMATIONS, toy.name, toy)
    return toy.name


def test_it_is_fitted_and_measured(name: str) -> None:
    samples = make_samples(20, 5, 4)
    approximation = kfsvd.fit(name, samples)
    assert isinstance(approximation, kfsvd.KroneckerSum)
    dense, fisher = approximation.dense().numpy(), oracle.fisher(samples)
    assert kfsvd.relative_error(samples, approximation) == pytest.approx(oracle.relative(dense, fisher), rel=1e-10)
    assert kfsvd.relative_error(samples, approximation) > kfsvd.best_relative_error(samples, rank=1)
    assert approximation.dense().trace() == pytest.approx(kfsvd.fit("kfac", samples).dense().trace())
    torch.testing.assert_close(kfsvd.fit(name, samples, scale=2.0).dense(), 2 * approximation.dense())
    with pytest.raises(ValueError, match=f"{name} has no option 'rank'; it has scale"):
        kfsvd.fit(name, samples, rank=2)


def test_it_trains_and_goes_on_from_a_checkpoint(name: str) -> None:
    inputs = torch.rand(16, 6, generator=torch.Generator().manual_seed(0))

    def made() -> tuple[nn.Module, kfsvd.NaturalGradient]:
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 6))
        return model, kfsvd.NaturalGradient(model, "bernoulli", approximation=name, refresh_every=1)

    def step(model: nn.Module, optimizer: kfsvd.NaturalGradient) -> float:
        optimizer.zero_grad()
        loss = kfsvd.negative_log_likelihood("bernoulli", model(inputs), inputs).mean()
        loss.backward()
        optimizer.step()
        return loss.item()

    model, optimizer = made()
    losses = [step(model, optimizer), step(model, optimizer)]
    assert losses[1] < losses[0]
    assert optimizer.approximations().keys() == {"0", "2"}
    other, resumed = made()
    other.load_state_dict(model.state_dict())
    resumed.load_state_dict(optimizer.state_dict())
    assert step(other, resumed) == step(model, optimizer) < losses[1]
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), other.parameters(), strict=True))


def test_a_specification_can_name_it(name: str, tmp_path: Path) -> None:
    """As an optimizer with its own option, among the Fisher errors, by its card, and with a colour of its own."""
    (tmp_path / "toy.yaml").write_text(
        "{version: 1, name: toy, seeds: [0], budget: {iterations: 2}, "
        "measure: {loss_every: 1, fisher_every: 1, fisher_samples: 16, "
        f"fisher_approximations: [{name}]}}, optimizers: {{toy: {{method: {name}, scale: 2.0, lr: 0.1}}}}, "
        "datasets: {digits: {data: digits, likelihood: bernoulli, batch_size: 64, train_examples: 64, "
        "network: {kind: autoencoder, encoder: [8, 4]}}}}"
    )
    (cell,) = cells(load_spec(tmp_path / "toy.yaml"))
    training = Training(cell, load_problem(cell.problem, Folders.default()), torch.device("cpu"))
    records = list(training)
    assert training.outcome == "done"
    errors = [row for part in records for row in part.fisher_errors]
    assert {(row.approximation, row.own) for row in errors} == {(name, True), (name, False)}
    option = next(each for each in options(name) if each.option == "scale")
    assert option == ("scale", 1.0, "> 0", "factor of the mean eigenvalue")
    assert colour(name) not in {colour(other) for other in METHODS if other != name}


def test_its_cost_is_refused_in_words_and_networks_can_be_pruned_by_it(name: str) -> None:
    network = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 6))
    with pytest.raises(ValueError, match=f"no cost is known of {name}; it is of sgd, adam, kfac"):
        step_cost(network, name, 4, rates=Rates(1e-6, {}))
    samples = {"0": make_samples(20, 7, 5), "2": make_samples(20, 6, 6)}
    masks = prune(network.double(), lambda _: samples, ratio=0.5, method="surgeon", approximation=name)
    kept = sum(int(mask.sum()) for mask in masks.kept.values())
    assert kept == 30


def test_a_value_out_of_its_range_is_refused_where_it_is_given(name: str) -> None:
    with pytest.raises(ValueError, match="scale must be above 0; got -1"):
        kfsvd.fit(name, make_samples(20, 5, 4), scale=-1)
    with pytest.raises(ValidationError, match="greater than 0"):
        METHODS[name].model_validate({"method": name, "scale": -1.0})
