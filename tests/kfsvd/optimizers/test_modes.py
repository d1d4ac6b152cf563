"""Ways to call a model: evaluation, keywords, autocast, half precision, replicas, compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from kfsvd import NaturalGradient
from kfsvd.optimizers import OPTIMIZERS
from tests.kfsvd.optimizers.loops import EVERY, INPUTS, equal, loss_of, make, network, train

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.mark.parametrize("step_rule", ["kl_clip", "quadratic_model"])
def test_evaluation_between_steps_leaves_no_mark(step_rule: str) -> None:
    plain, evaluated = network(), network()
    first, second = (make("kpsvd", m, refresh_every=1, step_rule=step_rule) for m in (plain, evaluated))
    for step in range(4):
        train(plain, first, 1, start=step)
        train(evaluated, second, 1, start=step)
        evaluated.eval()
        evaluated(INPUTS[:3])
        with torch.no_grad():
            evaluated(INPUTS[:5])
        evaluated.train()
        with torch.no_grad():
            evaluated(INPUTS[:7])
    assert equal(plain, evaluated)


class Keywords(nn.Module):
    """Takes its inputs and a number by keyword."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first, self.second = nn.Linear(6, 5), nn.Linear(5, 6)

    def forward(self, *, scale: float, inputs: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        hidden = torch.tanh(self.first(inputs) * scale)
        return self.second(hidden if mask is None else hidden * mask)


@pytest.mark.parametrize("step_rule", ["kl_clip", "quadratic_model"])
def test_a_model_may_be_called_by_keyword(step_rule: str) -> None:
    model, plain = Keywords().double(), network()
    optimizer = make("kpsvd", model, refresh_every=1, step_rule=step_rule)
    reference = make("kpsvd", plain, refresh_every=1, step_rule=step_rule)
    mask = torch.ones(5).double()
    for step in range(3):
        train(plain, reference, 1, start=step)
        batch = INPUTS[torch.randperm(24, generator=torch.Generator().manual_seed(step))[:12]]
        optimizer.zero_grad()
        outputs = model(scale=1.0, inputs=batch, mask=mask)
        nn.functional.binary_cross_entropy_with_logits(outputs, batch, reduction="none").sum(1).mean().backward()
        optimizer.step()
    for p, q in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-10, atol=1e-12)


def in_float32(optimizer: torch.optim.Optimizer) -> bool:
    """Whether curvature samples, or the state of matrices, are."""
    if isinstance(optimizer, NaturalGradient):
        return all(s.gradients.dtype == torch.float32 for s in optimizer.samples().values())
    states = [optimizer.state[p] for p in optimizer.param_groups[0]["params"] if p in optimizer.state]
    return all(v.dtype == torch.float32 for s in states for v in s.values() if isinstance(v, torch.Tensor))


@pytest.mark.parametrize("name", EVERY)
def test_under_autocast_the_curvature_stays_in_float32(name: str) -> None:
    model, inputs = network(torch.float32), INPUTS.float()
    optimizer = make(name, model, refresh_every=2, kl_clip=0.1)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            outputs = model(inputs)
        loss = nn.functional.binary_cross_entropy_with_logits(outputs.float(), inputs, reduction="none").sum(1).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert in_float32(optimizer)
    assert all(p.dtype == torch.float32 and torch.isfinite(p).all() for p in model.parameters())


@pytest.mark.parametrize("name", EVERY)
def test_a_model_in_bfloat16_trains_with_a_curvature_in_float32(name: str) -> None:
    model, inputs = network(torch.bfloat16), INPUTS.bfloat16()
    optimizer = make(name, model, refresh_every=2, kl_clip=0.1, **({"lr": 0.5} if name in OPTIMIZERS else {}))
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = loss_of(model, inputs)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all(p.dtype == torch.bfloat16 for p in model.parameters())
    assert in_float32(optimizer)


def test_replicas_are_refused_with_the_reason() -> None:
    distributed = nn.parallel.DistributedDataParallel.__new__(nn.parallel.DistributedDataParallel)
    for model in (nn.DataParallel(network()), distributed):
        with pytest.raises(
            TypeError, match="Parallel is not supported: the curvature would be of one replica's inputs"
        ):
            make("kfac", model)


@pytest.mark.parametrize("options", [{}, {"fisher": "empirical"}, {"step_rule": "quadratic_model"}])
def test_a_detached_optimizer_leaves_no_hook_and_makes_no_step(options: dict[str, str]) -> None:
    model = network()
    optimizer = make("kfac", model, **options)
    train(model, optimizer, 1)
    optimizer.detach()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    with pytest.raises(RuntimeError, match="has been detached"):
        optimizer.step()
    optimizer.detach()
    train(model, make("kpsvd", model), 1)


@pytest.fixture
def _fresh_compiler() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.usefixtures("_fresh_compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch.*")
@pytest.mark.parametrize("options", [{}, {"fisher": "empirical"}, {"step_rule": "quadratic_model"}], ids=str)
@pytest.mark.parametrize("when", ["before", "after", "in place before", "in place after"])
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiled_model_trains_like_the_plain_one(when: str, backend: str, options: dict[str, str]) -> None:
    plain, model = network(), network()
    reference = make("kpsvd", plain, refresh_every=2, **options)
    called: nn.Module
    if when == "before":
        called = torch.compile(model, backend=backend)
        optimizer = make("kpsvd", called, refresh_every=2, **options)
    elif when == "after":
        optimizer = make("kpsvd", model, refresh_every=2, **options)
        called = torch.compile(model, backend=backend)
    else:
        called = model
        if when == "in place before":
            model.compile(backend=backend)
        optimizer = make("kpsvd", model, refresh_every=2, **options)
        if when == "in place after":
            model.compile(backend=backend)
    train(plain, reference, 4)
    train(called, optimizer, 4)
    for p, q in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-10, atol=1e-12)


def test_a_step_inside_autocast_is_that_outside() -> None:
    inside, outside = network(torch.float32), network(torch.float32)
    for model, enabled in ((inside, True), (outside, False)):
        optimizer = make("kpsvd", model)
        optimizer.zero_grad()
        loss_of(model, INPUTS.float()).backward()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            optimizer.step()
    assert equal(inside, outside)


def test_replicas_within_a_model_are_refused() -> None:
    with pytest.raises(TypeError, match="DataParallel is not supported"):
        make("kfac", nn.Sequential(nn.DataParallel(network()), nn.Linear(6, 6)))
