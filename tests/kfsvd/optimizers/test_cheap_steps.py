"""What makes steps cheap leaves them right: low-rank inverses, schedules, kept inverses, grafted lengths."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

import kfsvd.inverse.low_rank
from kfsvd.inverse.low_rank import LowRankInverse
from kfsvd.optimizers import OPTIMIZERS
from tests.kfsvd.optimizers.loops import INPUTS, equal, loss_of, make, network, train
from tests.kfsvd.optimizers.test_state_dict import OUT_OF_STEP, assert_continues


@pytest.fixture(autouse=True)
def small_layers_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Low rank at widths that a dense oracle can take."""
    monkeypatch.setattr(kfsvd.inverse.low_rank, "SMALL", (0, 0))


FACTORED = ["kfac", "kpsvd", "deflation", "lanczos", "kfac_corrected", "tkfac"]
WIDE = torch.sigmoid(
    torch.randn(64, 5, generator=torch.Generator().manual_seed(3)).double()
    @ torch.randn(5, 60, generator=torch.Generator().manual_seed(4)).double()
)


def wide() -> nn.Sequential:
    """60-40-60, wide enough for inverses of low rank."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(60, 40), nn.Tanh(), nn.Linear(40, 60)).double()


def losses(name: str, **options: Any) -> list[float]:
    model = wide()
    optimizer = make(name, model, refresh_every=3, **options)
    seen = []
    for step in range(40):
        train(model, optimizer, 1, start=step, inputs=WIDE)
        seen.append(loss_of(model, WIDE).item())
    if options.get("inverse") == "low_rank":
        assert any(isinstance(inverse, LowRankInverse) for inverse in optimizer.inverses().values())
    return seen


@pytest.mark.parametrize("name", FACTORED)
def test_low_rank_inverses_make_as_much_progress(name: str) -> None:
    dense, thin = losses(name), losses(name, inverse="low_rank")
    gain = dense[0] - dense[-1]
    assert gain > 1
    assert thin[-1] == pytest.approx(dense[-1], abs=0.1 * gain)


@pytest.mark.parametrize("name", FACTORED)
def test_a_tolerance_of_nothing_is_the_dense_step(name: str) -> None:
    model, other = network(), network()
    train(model, make(name, model), 5)
    train(other, make(name, other, inverse="low_rank", inverse_tolerance=1e-9), 5)
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ["ekfac", "exact"])
def test_what_has_no_factored_rule_has_no_low_rank_inverse(name: str) -> None:
    with pytest.raises(ValueError, match="inverse must be one of dense; got 'low_rank'"):
        make(name, network(), inverse="low_rank")


def test_a_rank_above_two_and_the_exact_rule_have_no_low_rank_inverse() -> None:
    with pytest.raises(ValueError, match="inverse must be one of dense; got 'low_rank'"):
        make("kpsvd", network(), rank=3, inverse="low_rank")
    with pytest.raises(ValueError, match="a low-rank inverse takes a factored damping_rule; got 'exact'"):
        make("kfac", network(), damping_rule="exact", inverse="low_rank")


CHEAP: dict[str, dict[str, Any]] = {
    "low rank": {"inverse": "low_rank", "inverse_tolerance": 100.0},
    "kept inverses": {"refresh_tolerance": 0.5},
    "Adam's length": {"step_rule": "adam_norm", "lr": 0.01},
    "the gradient's length": {"step_rule": "sgd_norm", "lr": 0.01},
}


@pytest.mark.parametrize("name", ["kfac", "deflation"])
@pytest.mark.parametrize("options", CHEAP.values(), ids=list(CHEAP))
def test_a_checkpoint_continues_bit_for_bit(name: str, options: dict[str, Any]) -> None:
    assert_continues(name, **OUT_OF_STEP, **options)


@pytest.mark.parametrize("options", CHEAP.values(), ids=list(CHEAP))
def test_a_copy_goes_on_alike(options: dict[str, Any]) -> None:
    model = network()
    optimizer = make("kpsvd", model, **options)
    train(model, optimizer, 4)
    twin, follower = copy.deepcopy((model, optimizer))
    train(model, optimizer, 4, start=4)
    train(twin, follower, 4, start=4)
    assert equal(model, twin)


def test_a_schedule_changes_the_interval() -> None:
    model = network()
    optimizer = make("kfac", model, statistics_every="2, 3 from 4", inverse_every=4)
    refreshed = []
    for step in range(9):
        before = dict(optimizer.approximations())
        train(model, optimizer, 1, start=step)
        if optimizer.approximations()["0"] is not before.get("0"):
            refreshed.append(step)
    assert refreshed == [0, 2, 4, 7]


def test_an_inverse_is_kept_until_its_curvature_has_moved() -> None:
    """A running average moves less and less: at first every refresh is one, at last few are."""
    model = network()
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.1)
    optimizer = make("kfac", model, refresh_every=1, refresh_tolerance=0.1, lr=0.0, decay=0.99, curvature_batch=1.0)
    renewed = []
    for step in range(60):
        before = optimizer.inverses().get("0")
        train(model, optimizer, 1, start=step)
        renewed.append(optimizer.inverses()["0"] is not before)
        moved = optimizer._layers["0"].moved()
        assert moved == 0 if renewed[-1] else 0 < moved <= 0.1
    assert sum(renewed[:10]) > 3
    assert sum(renewed[-20:]) <= 3


def test_other_damping_renews_every_inverse() -> None:
    model = network()
    optimizer = make("kfac", model, refresh_every=1, refresh_tolerance=1e9)
    train(model, optimizer, 2)
    kept = optimizer.inverses()["0"]
    train(model, optimizer, 1, start=2)
    assert optimizer.inverses()["0"] is kept
    optimizer.param_groups[0]["damping"] *= 2
    train(model, optimizer, 1, start=3)
    assert optimizer.inverses()["0"] is not kept


def test_a_grafted_step_has_the_length_of_adams() -> None:
    """Of every layer, along several steps; Adam's are of the same gradients."""
    model, twin = network(), network()
    optimizer = make("kfac", model, step_rule="adam_norm", lr=0.01, momentum=0.0)
    adam = torch.optim.Adam(twin.parameters(), lr=0.01, eps=1e-8)
    for _ in range(4):
        loss_of(model, INPUTS).backward()
        for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
            assert ours.grad is not None
            theirs.grad = ours.grad.clone()
        before = [[p.detach().clone() for p in network.parameters()] for network in (model, twin)]
        optimizer.step()
        adam.step()
        for layer in range(2):
            lengths = []
            for network_, past in zip((model, twin), before, strict=True):
                moved = [(p - q).flatten() for p, q in zip(network_.parameters(), past, strict=True)]
                lengths.append(torch.cat(moved[2 * layer : 2 * layer + 2]).norm())
            torch.testing.assert_close(lengths[0], lengths[1])
        optimizer.zero_grad()


@pytest.mark.parametrize("inverse", ["dense", "low_rank"])
def test_a_grafted_step_has_the_length_of_the_gradient(inverse: str) -> None:
    model = wide()
    optimizer = make("kfac", model, step_rule="sgd_norm", lr=0.01, momentum=0.0, inverse=inverse)
    before = [p.detach().clone() for p in model[0].parameters()]
    loss_of(model, WIDE).backward()
    optimizer.step()
    moved = torch.cat([(p - q).flatten() for p, q in zip(model[0].parameters(), before, strict=True)])
    gradient = torch.cat([p.grad.flatten() for p in model[0].parameters() if p.grad is not None])
    torch.testing.assert_close(moved.norm(), 0.01 * gradient.norm())
    assert torch.cosine_similarity(moved.detach(), gradient, 0).abs() < 0.999


@pytest.mark.parametrize(
    ("step_rule", "scale"),
    [*((rule, scale) for rule in ("kl_clip", "adam_norm") for scale in (1e-25, 1e19, 1e30)), ("sgd_norm", 1e-25)],
)
def test_a_gradient_of_any_size_gives_a_finite_step(scale: float, step_rule: str) -> None:
    model = network(torch.float32)
    inputs = INPUTS.float()
    optimizer = make("kfac", model, inverse="low_rank", inverse_tolerance=100.0, step_rule=step_rule)
    for _ in range(3):
        optimizer.zero_grad()
        loss_of(model, inputs).backward()
        for parameter in model.parameters():
            assert parameter.grad is not None
            parameter.grad *= scale
        optimizer.step()
    assert all(torch.isfinite(p).all() for p in model.parameters())


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_the_inverses_can_be_looked_at(name: str) -> None:
    model = network()
    optimizer = make(name, model)
    assert optimizer.inverses() == {}
    train(model, optimizer, 1)
    assert list(optimizer.inverses()) == ["0", "2"]
