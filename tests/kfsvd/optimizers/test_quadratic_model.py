"""The quadratic model's step against the dense Fisher matrix of the batch, and its damping."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call, jacrev

from kfsvd import ExactNaturalGradient, negative_log_likelihood
from kfsvd.network.likelihoods import LIKELIHOODS, likelihood_named
from kfsvd.optimizers import OPTIMIZERS
from kfsvd.optimizers.observer import Call, Observer
from kfsvd.optimizers.quadratic import LM_FACTOR, Minimum, QuadraticModel, damping_after
from tests.kfsvd.optimizers.loops import INPUTS, loss_of, make, network, train


def problem(likelihood: str) -> tuple[nn.Sequential, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 5)).double()
    targets = torch.randint(0, 5, (7,)) if likelihood == "categorical" else torch.rand(7, 5).double()
    return model, torch.randn(7, 4).double(), targets


def flat(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([t.flatten() for t in tensors.values()])


def dense_fisher(model: nn.Module, inputs: torch.Tensor, likelihood: str) -> torch.Tensor:
    parameters = {n: p.detach() for n, p in model.named_parameters()}
    jacobian = jacrev(lambda p: functional_call(model, p, (inputs,)))(parameters)
    rows = torch.cat([jacobian[n].flatten(2) for n in parameters], 2)  # (m, K, parameters)
    factors = likelihood_named(likelihood).fisher_factors(model(inputs).detach())
    scores = torch.einsum("knj,njp->knp", factors, rows).flatten(0, 1)
    return scores.mT @ scores / len(inputs)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # jacrev's own
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_the_minimum_is_that_of_the_dense_model(likelihood: str) -> None:
    model, inputs, targets = problem(likelihood)
    generator = torch.Generator().manual_seed(1)
    directions = [
        {n: torch.randn(p.shape, generator=generator, dtype=p.dtype) for n, p in model.named_parameters()}
        for _ in range(2)
    ]
    loss = negative_log_likelihood(likelihood, model(inputs), targets).mean()
    gradients = dict(zip(directions[0], torch.autograd.grad(loss, list(model.parameters())), strict=True))
    call = Call((inputs,), {}, targets)
    minimum = QuadraticModel(model, likelihood_named(likelihood), call).minimum(gradients, directions, damping=0.3)
    fisher = dense_fisher(model, inputs, likelihood)
    d = torch.stack([flat(direction) for direction in directions])
    q = d @ (fisher + 0.3 * torch.eye(len(fisher), dtype=fisher.dtype)) @ d.mT
    b = d @ flat(gradients)
    torch.testing.assert_close(minimum.coefficients, torch.linalg.solve(q, b), rtol=1e-9, atol=0)
    torch.testing.assert_close(minimum.decrease, b @ torch.linalg.solve(q, b) / 2, rtol=1e-9, atol=0)
    torch.testing.assert_close(minimum.loss, loss.detach(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_labels_are_read_off_the_gradient_of_the_outputs(likelihood: str) -> None:
    model, inputs, targets = problem(likelihood)
    observer = Observer(model, likelihood_named(likelihood))
    negative_log_likelihood(likelihood, model(inputs), targets).mean().backward()
    expected = nn.functional.one_hot(targets, 5).double() if likelihood == "categorical" else targets
    assert observer.call.targets is not None
    torch.testing.assert_close(observer.call.targets, expected, rtol=1e-12, atol=1e-14)


def test_the_damping_follows_levenberg_and_marquardt() -> None:
    def after(loss: float, damping: float = 1.0) -> float:
        minimum = Minimum(torch.ones(1), torch.tensor(0.5).double(), torch.tensor(3.0).double())
        return damping_after(damping, minimum, torch.tensor(loss).double(), floor=0.01)

    assert after(3.0 - 0.5 * 0.76) == pytest.approx(LM_FACTOR), "the model was right: less damping"
    assert after(3.0 - 0.5 * 0.74) == after(3.0 - 0.5 * 0.26) == 1.0
    assert after(3.0 - 0.5 * 0.24) == pytest.approx(1 / LM_FACTOR), "the model promised too much: more"
    assert after(9.0) == pytest.approx(1 / LM_FACTOR)
    assert after(2.0, damping=0.0101) == 0.01, "not below the floor"
    assert pytest.approx(0.95**5) == LM_FACTOR


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_damping_adapts_and_stays_above_its_floor(name: str) -> None:
    model = network()
    optimizer = make(name, model, step_rule="quadratic_model", damping=0.3, damping_floor=0.2, refresh_every=1)
    seen = []
    for step in range(40):
        train(model, optimizer, 1, start=step)
        seen.append(optimizer.param_groups[0]["damping"])
    assert seen[:4] == [0.3] * 4
    assert len(set(seen)) > 1
    assert min(seen) >= 0.2


def test_it_lands_on_the_least_squares_solution_of_a_linear_layer() -> None:
    """Squared error of one linear layer is its own quadratic model: one step of the exact gradient, no step size.

    λ moves the solution by some λ/0.3, relative, and rounding by 1e-16/λ: both are least together at 1e-8.
    """
    torch.manual_seed(0)
    layer = nn.Linear(4, 3).double()
    inputs, targets = torch.randn(30, 4).double(), torch.randn(30, 3).double()
    optimizer = ExactNaturalGradient(
        layer, "gaussian", fisher="exact", step_rule="quadratic_model", damping=1e-8, damping_floor=1e-12
    )
    assert optimizer.param_groups[0]["lr"] == 1.0, "the quadratic model knows its own length"
    negative_log_likelihood("gaussian", layer(inputs), targets).mean().backward()
    optimizer.step()
    design = torch.cat([inputs, torch.ones(30, 1).double()], 1)
    solution = torch.linalg.lstsq(design, targets).solution
    torch.testing.assert_close(torch.cat([layer.weight, layer.bias[:, None]], 1), solution.mT, rtol=1e-6, atol=1e-7)


def test_it_needs_no_step_size_to_beat_the_kl_clip_on_a_small_autoencoder() -> None:
    losses = {}
    for step_rule in ("kl_clip", "quadratic_model"):
        model = network()
        train(model, make("kfac", model, step_rule=step_rule, refresh_every=1), 40)
        losses[step_rule] = loss_of(model, INPUTS).item()
    assert losses["quadratic_model"] < losses["kl_clip"]


def test_random_layers_and_buffers_are_left_as_they_were() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Dropout(0.3), nn.Linear(5, 6)).double()
    optimizer = make("kpsvd", model, step_rule="quadratic_model", refresh_every=1)
    for _ in range(6):
        optimizer.zero_grad()
        loss_of(model, INPUTS).backward()
        buffers = [b.clone() for b in model.buffers()]
        state = torch.get_rng_state()
        optimizer.step()
        assert torch.equal(state, torch.get_rng_state())
        assert all(torch.equal(a, b) for a, b in zip(buffers, model.buffers(), strict=True))
