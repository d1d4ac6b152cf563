"""Hostile numbers: a finite step or a clear error, never a silent NaN in weights, momenta or curvature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from kfsvd import IndefiniteError
from kfsvd.optimizers import MATRIX_OPTIMIZERS
from tests.kfsvd.optimizers.loops import EVERY, INPUTS, loss_of, make, network, train

if TYPE_CHECKING:
    from collections.abc import Callable

CLEAR = (FloatingPointError, IndefiniteError)


def weights(model: nn.Module) -> list[torch.Tensor]:
    return [p.detach().clone() for p in model.parameters()]


def unchanged(model: nn.Module, before: list[torch.Tensor]) -> bool:
    return all(torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True))


def all_finite(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return bool(torch.isfinite(value).all()) if value.dtype.is_floating_point else True
    if isinstance(value, dict):
        return all(all_finite(v) for v in value.values())
    return all(all_finite(v) for v in value) if isinstance(value, list | tuple) else True


@pytest.mark.parametrize(
    ("step_rule", "step", "bad"),
    [
        ("kl_clip", 0, float("nan")),
        ("kl_clip", 1, float("inf")),
        ("quadratic_model", 0, float("inf")),
        ("none", 1, float("nan")),
    ],
)
@pytest.mark.parametrize("name", EVERY)
def test_a_batch_that_is_not_finite_leaves_everything_as_it_was(
    name: str, step_rule: str, step: int, bad: float
) -> None:
    """At a refresh (step 0), and between two."""
    model = network(norm=True)
    optimizer = make(name, model, step_rule=step_rule, refresh_every=2, curvature_batch=1.0)
    train(model, optimizer, 2 + step)
    before = weights(model)
    poisoned = INPUTS.clone()
    poisoned[3, 2] = bad
    optimizer.zero_grad()
    loss_of(model, poisoned).backward()
    with pytest.raises(FloatingPointError, match="not finite"):
        optimizer.step()
    assert unchanged(model, before)
    assert all_finite(optimizer.state_dict())
    train(model, optimizer, 3, start=2 + step)
    assert not unchanged(model, before)
    assert all_finite(weights(model))


def rank_deficient(generator: torch.Generator) -> torch.Tensor:
    """Six inputs of which only two directions vary."""
    return torch.rand(24, 2, generator=generator, dtype=torch.float64) @ torch.ones(2, 6).double()


BATCHES: dict[str, Callable[[torch.Generator], torch.Tensor]] = {
    "one example": lambda g: torch.rand(1, 6, generator=g, dtype=torch.float64),
    "duplicated rows": lambda g: torch.rand(1, 6, generator=g, dtype=torch.float64).expand(24, 6),
    "zeros": lambda _g: torch.zeros(24, 6, dtype=torch.float64),
    "rank deficient": rank_deficient,
    "tiny": lambda g: 1e-20 * torch.rand(24, 6, generator=g, dtype=torch.float64),
    "huge": lambda g: 1e20 * torch.rand(24, 6, generator=g, dtype=torch.float64),
}


IN_BOTH = ("rank deficient", "tiny", "huge")
"""The batches on which rounding and the range of a dtype matter."""


@pytest.mark.parametrize(
    ("batch", "dtype"),
    [*((batch, torch.float32) for batch in BATCHES), *((batch, torch.float64) for batch in IN_BOTH)],
    ids=str,
)
@pytest.mark.parametrize("name", EVERY)
def test_hostile_batches_make_a_finite_step_or_a_clear_error(name: str, batch: str, dtype: torch.dtype) -> None:
    model = network(dtype)
    inputs = BATCHES[batch](torch.Generator().manual_seed(0)).to(dtype)
    optimizer = make(name, model, refresh_every=1, damping=1e-3)
    before = weights(model)
    for _ in range(3):
        optimizer.zero_grad()
        outputs = model(inputs)
        targets = inputs.clamp(0, 1)
        nn.functional.binary_cross_entropy_with_logits(outputs, targets, reduction="none").sum(1).mean().backward()
        try:
            optimizer.step()
        except CLEAR:
            assert batch == "huge", "only numbers beyond the dtype's range may be refused"
            assert unchanged(model, before)
            break
    assert all_finite(weights(model))
    assert all_finite(optimizer.state_dict())


@pytest.mark.parametrize("name", EVERY)
def test_gradients_of_zero_move_nothing(name: str) -> None:
    model = network()
    optimizer = make(name, model)
    before = weights(model)
    optimizer.zero_grad()
    (loss_of(model, INPUTS) * 0).backward()
    optimizer.step()
    assert unchanged(model, before)


@pytest.mark.parametrize("name", EVERY)
def test_a_dead_layer_keeps_the_others_training(name: str) -> None:
    """A ReLU layer whose units are all off: zero gradients below it, zero activations above."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 6)).double()
    with torch.no_grad():
        model[0].bias.fill_(-100)
    optimizer = make(name, model, refresh_every=1)
    dead, alive = model[0].weight.clone(), model[2].bias.clone()
    train(model, optimizer, 3)
    assert torch.equal(model[0].weight, dead)
    assert not torch.equal(model[2].bias, alive)
    assert all_finite(weights(model))


@pytest.mark.parametrize("name", ["kfac", "ekfac", "exact", *MATRIX_OPTIMIZERS])
@pytest.mark.parametrize("step_rule", ["kl_clip", "adam_norm"])
def test_a_look_that_is_put_off_keeps_nan_out_of_everything(
    name: str, step_rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU, where a look at each step's gradients would wait for them."""
    monkeypatch.setattr("kfsvd.optimizers.matrices._LOOK_EVERY", 4)
    model = network(norm=True)
    optimizer = make(name, model, refresh_every=4, step_rule=step_rule)
    optimizer._synchronous = False
    for step in range(3):
        train(model, optimizer, 1, start=step)
    loss_of(model, INPUTS).backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        parameter.grad[...] = float("nan")
    optimizer.step()  # the fourth: no refresh is due
    assert all(torch.isfinite(p).all() for p in model.parameters())
    before = [p.detach().clone() for p in model.parameters()]
    with pytest.raises(FloatingPointError, match="a gradient is not finite"):
        train(model, optimizer, 1, start=4)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))
    train(model, optimizer, 5, start=5)
    assert all(torch.isfinite(p).all() for p in model.parameters())
