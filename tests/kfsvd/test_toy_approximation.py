"""CONTRIBUTING's example of an approximation is all that it takes to add one."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest
import torch
from torch import nn

import kfsvd
from tests.kfsvd import oracle
from tests.kfsvd.conftest import make_samples

PAGE = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text()


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
