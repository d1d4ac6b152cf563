"""What a user's gradients may rely on: accumulation, missing and frozen ones, double backward, hooks, groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from kfsvd.optimizers import OPTIMIZERS
from tests.kfsvd.optimizers.loops import EVERY, INPUTS, equal, loss_of, make, network, train

if TYPE_CHECKING:
    from kfsvd import NaturalGradient


@pytest.mark.parametrize("name", EVERY)
def test_accumulated_gradients_are_those_of_the_whole_batch(name: str) -> None:
    """With one curvature for both, four micro-batches make the very step of the batch."""
    whole, parts = network(), network()
    optimizers = [make(name, model, refresh_every=1000) for model in (whole, parts)]
    for model, optimizer in zip((whole, parts), optimizers, strict=True):
        train(model, optimizer, 1)
    for _ in range(3):
        optimizers[0].zero_grad()
        loss_of(whole, INPUTS).backward()
        optimizers[0].step()
        optimizers[1].zero_grad()
        for part in INPUTS.chunk(4):
            (loss_of(parts, part) / 4).backward()
        optimizers[1].step()
    for p, q in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("set_to_none", [True, False])
@pytest.mark.parametrize("name", EVERY)
def test_a_layer_without_gradients_stands_still(name: str, set_to_none: bool) -> None:
    model = network()
    optimizer = make(name, model, weight_decay=0.1)
    train(model, optimizer, 3)
    before = [p.detach().clone() for p in model.parameters()]
    optimizer.zero_grad(set_to_none=set_to_none)
    if set_to_none:
        optimizer.step()
        assert all(torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True))
    else:  # zeros are gradients: momentum and weight decay go on, as in torch's own optimizers
        optimizer.step()
        assert not any(torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True))


@pytest.mark.parametrize("name", EVERY)
def test_a_layer_frozen_later_stands_still_while_the_others_train(name: str) -> None:
    model = network()
    optimizer = make(name, model, refresh_every=2)
    train(model, optimizer, 3)
    model[0].requires_grad_(False)
    before = model[0].weight.clone(), model[2].weight.clone()
    train(model, optimizer, 4, start=3)
    assert torch.equal(model[0].weight, before[0])
    assert not torch.equal(model[2].weight, before[1])
    model[0].requires_grad_(True)
    train(model, optimizer, 4, start=7)
    assert not torch.equal(model[0].weight, before[0])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_layer_released_before_its_first_refresh_waits_for_it(name: str) -> None:
    model = network()
    optimizer = make(name, model, refresh_every=2)
    model[0].requires_grad_(False)
    before = model[0].weight.clone()
    train(model, optimizer, 1)
    model[0].requires_grad_(True)
    train(model, optimizer, 1, start=1)
    assert torch.equal(model[0].weight, before), "no curvature of it is at hand"
    train(model, optimizer, 1, start=2)
    assert not torch.equal(model[0].weight, before)


def test_a_bias_frozen_later_says_so() -> None:
    model = network()
    optimizer = make("kfac", model, refresh_every=2)
    train(model, optimizer, 1)
    model[0].bias.requires_grad_(False)
    with pytest.raises(RuntimeError, match="the bias of layer '0' was frozen or released"):
        train(model, optimizer, 1, start=1)


def test_a_gradient_penalty_sees_no_optimizer() -> None:
    """Double backward through the model gives the same gradients with the optimizer's hooks and without."""

    def penalised(model: nn.Module) -> list[torch.Tensor]:
        model.zero_grad()
        inputs = INPUTS.clone().requires_grad_()
        loss = loss_of(model, inputs)
        (slope,) = torch.autograd.grad(loss, inputs, create_graph=True)
        (loss + slope.square().sum()).backward()
        return [p.grad.clone() for p in model.parameters() if p.grad is not None]

    plain, watched = network(), network()
    optimizer = make("kpsvd", watched, fisher="empirical")
    for a, b in zip(penalised(plain), penalised(watched), strict=True):
        assert torch.equal(a, b)
    optimizer.step()


def test_user_hooks_do_not_see_the_curvature() -> None:
    model = network()
    seen: list[int] = []
    model[0].register_forward_hook(lambda *_: seen.append(1))
    model[2].register_full_backward_hook(lambda *_: seen.append(2))
    optimizer = make("lanczos", model, refresh_every=1, step_rule="quadratic_model")
    train(model, optimizer, 3)
    assert seen == [1, 2] * 3


def test_in_place_activations() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(inplace=True), nn.Linear(8, 6)).double()
    torch.manual_seed(0)
    reference = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 6)).double()
    for m in (model, reference):
        train(m, make("kpsvd", m, refresh_every=1, fisher="empirical"), 4)
    assert equal(model, reference)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_empirical_fisher_is_that_of_the_training_labels(name: str) -> None:
    """The labels are read off the gradient that reaches the outputs."""
    model = network()
    optimizer = make(name, model, fisher="empirical", curvature_batch=1.0)
    optimizer.zero_grad()
    loss_of(model, INPUTS).backward()
    optimizer.step()
    (first, *_) = optimizer.samples().values()
    fresh = network()
    order = torch.randperm(24, generator=torch.Generator().manual_seed(0))
    for n in range(3):
        fresh.zero_grad()
        loss_of(fresh, INPUTS[order[n]][None]).backward()
        expected = torch.cat([fresh[0].weight.grad, fresh[0].bias.grad[:, None]], 1)
        torch.testing.assert_close(
            torch.outer(first.gradients[n], first.activations[n]), expected, rtol=1e-10, atol=1e-13
        )


def test_labels_before_the_backward_pass_say_so() -> None:
    model = network()
    optimizer = make("kfac", model, fisher="empirical")
    loss_of(model, INPUTS)
    with pytest.raises(RuntimeError, match="has not been propagated backward"):
        optimizer.step()


class TestGroups:
    """Preconditioned layers are one parameter group, the fallback's another."""

    @staticmethod
    def optimizer(**options: float) -> tuple[nn.Module, NaturalGradient]:
        model = network(norm=True)
        return model, make("kpsvd", model, lr=0.2, fallback_lr=0.05, **options)

    def test_there_are_two(self) -> None:
        model, optimizer = self.optimizer()
        assert [group["lr"] for group in optimizer.param_groups] == [0.2, 0.05]
        assert [len(group["params"]) for group in optimizer.param_groups] == [4, 2]
        assert optimizer.fallback_parameters == ("1.weight", "1.bias")
        assert isinstance(model, nn.Module)

    @pytest.mark.parametrize(
        "schedule",
        [
            lambda o: torch.optim.lr_scheduler.StepLR(o, 1, gamma=0.5),
            lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 8),
            lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda step: 1 / (1 + step)),
            lambda o: torch.optim.lr_scheduler.OneCycleLR(o, [0.2, 0.05], total_steps=10, cycle_momentum=False),
            lambda o: torch.optim.lr_scheduler.ReduceLROnPlateau(o),
        ],
        ids=["step", "cosine", "lambda", "one cycle", "plateau"],
    )
    def test_schedulers_work_on_both(self, schedule: object) -> None:
        model, optimizer = self.optimizer()
        scheduler = schedule(optimizer)  # type: ignore[operator]
        ratios = []
        for step in range(4):
            train(model, optimizer, 1, start=step)
            scheduler.step(*([1.0] if "Plateau" in type(scheduler).__name__ else []))
            ratios.append(optimizer.param_groups[0]["lr"] / optimizer.param_groups[1]["lr"])
        assert ratios == pytest.approx([4.0] * 4)

    def test_a_step_size_of_zero_moves_nothing(self) -> None:
        model, optimizer = self.optimizer()
        before = [p.detach().clone() for p in model.parameters()]
        for group in optimizer.param_groups:
            group["lr"] = 0.0
        train(model, optimizer, 2)
        assert all(torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True))

    def test_a_changed_damping_counts_at_the_next_inverse(self) -> None:
        model, optimizer = self.optimizer(refresh_every=2)
        train(model, optimizer, 1)
        optimizer.zero_grad()
        loss_of(model, INPUTS).backward()
        first = optimizer.precondition()["0"].norm()
        optimizer.param_groups[0]["damping"] = 1e6
        assert optimizer.precondition()["0"].norm() == first
        train(model, optimizer, 2, start=1)
        optimizer.zero_grad()
        loss_of(model, INPUTS).backward()
        assert optimizer.precondition()["0"].norm() < 1e-3 * first

    def test_parameters_cannot_be_added(self) -> None:
        _, optimizer = self.optimizer()
        with pytest.raises(ValueError, match="make a new one of the model"):
            optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(2))]})


@pytest.mark.parametrize("name", EVERY)
def test_a_frozen_weight_with_a_live_bias_stands_still(name: str) -> None:
    model = network()
    optimizer = make(name, model, refresh_every=2)
    train(model, optimizer, 2)
    model[0].weight.requires_grad_(False)
    before = model[0].weight.clone()
    train(model, optimizer, 3, start=2)
    assert torch.equal(model[0].weight, before)


def test_gradients_that_are_not_finite_leave_the_curvature_alone() -> None:
    """An infinity behind a saturated unit: finite outputs, so that only the gradients tell."""
    model = network()
    optimizer = make("kfac", model, refresh_every=1)
    train(model, optimizer, 1)
    curvature = optimizer.approximations()["0"]
    optimizer.zero_grad()
    loss_of(model, INPUTS).backward()
    model[2].weight.grad[0, 0] = float("inf")
    with pytest.raises(FloatingPointError, match="not finite"):
        optimizer.step()
    assert optimizer.approximations()["0"] is curvature
