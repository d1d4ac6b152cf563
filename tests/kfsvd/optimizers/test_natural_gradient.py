"""The optimizer's steps against their definition, its equivalences in the limits, and its promises to the loop."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import nn

import kfsvd
from kfsvd import negative_log_likelihood
from kfsvd.optimizers import OPTIMIZERS
from tests.kfsvd.conftest import WITH_RULE
from tests.kfsvd.optimizers.loops import EVERY


def network(dtype: torch.dtype = torch.float64) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 6)).to(dtype)


INPUTS = torch.rand(16, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def backward(model: nn.Module, inputs: torch.Tensor = INPUTS) -> float:
    model.zero_grad()
    loss = negative_log_likelihood("bernoulli", model(inputs), inputs).mean()
    loss.backward()
    return loss.item()


def build(name: str, model: nn.Module, **options: object) -> Any:
    made = EVERY[name](model, "bernoulli", **options)
    if isinstance(made, kfsvd.NaturalGradient):
        made.keep_samples = True
    return made


@pytest.mark.parametrize(("name", "rule"), WITH_RULE)
def test_a_step_is_the_damped_solve_with_the_refreshed_approximation(name: str, rule: str) -> None:
    model = network()
    own = {"blocks": "layers"} if name == "exact" else {}
    optimizer = build(name, model, lr=0.3, damping=0.2, damping_rule=rule, step_rule="none", momentum=0.0, **own)
    backward(model)
    before = {n: (layer.weight.clone(), layer.bias.clone()) for n, layer in (("0", model[0]), ("2", model[2]))}
    gradients = {
        n: torch.cat([model.get_submodule(n).weight.grad, model.get_submodule(n).bias.grad[:, None]], 1) for n in before
    }
    optimizer.step()
    for n, (weight, bias) in before.items():
        approximation = optimizer.approximation.fit(optimizer.samples()[n])
        step = approximation.solve(gradients[n], damping=0.2, rule=rule)
        torch.testing.assert_close(model.get_submodule(n).weight, weight - 0.3 * step[:, :-1], rtol=1e-10, atol=1e-13)
        torch.testing.assert_close(model.get_submodule(n).bias, bias - 0.3 * step[:, -1], rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_strong_damping_is_sgd_with_momentum_and_decoupled_decay(name: str) -> None:
    damping = 1e12
    model, reference = network(), network()
    optimizer = build(
        name,
        model,
        lr=0.1 * damping,
        damping=damping,
        step_rule="none",
        damping_rule=build(name, network()).approximation.damping_rules[-1],
        weight_decay=1e-14,
    )
    sgd = torch.optim.SGD(reference.parameters(), lr=0.1, momentum=0.9)
    for _ in range(5):
        backward(model)
        backward(reference)
        with torch.no_grad():
            for p in reference.parameters():
                p.mul_(1 - 1e-3)  # lr · weight_decay
        optimizer.step()
        sgd.step()
        for p, q in zip(model.parameters(), reference.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-6)


def test_kfac_is_exact_on_one_linear_layer_with_squared_error() -> None:
    """F = E[aaᵀ]⊗I there, so that one undamped step at learning rate 1 lands on the least-squares solution."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3)).double()
    x, y = torch.randn(4000, 4).double(), torch.randn(4000, 3).double()
    optimizer = kfsvd.KFAC(
        model, "gaussian", lr=1.0, momentum=0.0, damping=1e-12, step_rule="none", curvature_batch=1.0
    )
    negative_log_likelihood("gaussian", model(x), y).mean().backward()
    optimizer.step()
    design = torch.cat([x, torch.ones(4000, 1).double()], 1)
    solution = torch.linalg.lstsq(design, y).solution.mT
    # E[ggᵀ] is I up to sampling noise of about 1/√4000
    torch.testing.assert_close(model[0].weight.detach(), solution[:, :-1], rtol=0, atol=0.05)
    assert (model[0].bias.detach() - solution[:, -1]).abs().max() < 0.05


def test_the_kl_clip_scales_the_step_by_the_root_of_its_size() -> None:
    def size_of_a_step(**options: object) -> float:
        """Σ over layers of |⟨∇W, ΔW⟩| for the step that was taken."""
        model = network()
        optimizer = build("kpsvd", model, lr=1.0, damping=1e-4, momentum=0.0, **options)
        backward(model)
        before = [p.detach().clone() for p in model.parameters()]
        optimizer.step()
        taken = [(p.grad * (b - p.detach())).sum().item() for p, b in zip(model.parameters(), before, strict=True)]
        return abs(taken[0] + taken[1]) + abs(taken[2] + taken[3])

    free = size_of_a_step(step_rule="none")
    assert free > 0.1
    assert size_of_a_step(kl_clip=1e-3) == pytest.approx((1e-3 / free) ** 0.5 * free, rel=1e-9)
    assert size_of_a_step(kl_clip=2 * free) == pytest.approx(free, rel=1e-9)


@pytest.mark.parametrize("name", EVERY)
def test_every_method_trains(name: str) -> None:
    model = network(torch.float32)
    inputs = INPUTS.float()
    optimizer = build(name, model, **({"lr": 0.03} if name in ("swan", "soap") else {}))  # as short as Adam's else
    start = backward(model, inputs)
    for _ in range(60):
        backward(model, inputs)
        optimizer.step()
    reached = backward(model, inputs)
    sgd_model = network(torch.float32)
    sgd = torch.optim.SGD(sgd_model.parameters(), lr=0.03, momentum=0.9)
    for _ in range(60):
        backward(sgd_model, inputs)
        sgd.step()
    assert reached < backward(sgd_model, inputs) < start


class ConvNet(nn.Module):
    """Two convolutions, and a linear layer that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 3, 3, stride=2, padding=1), nn.Conv2d(3, 2, 2, bias=False)
        self.twice, self.out = nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(self.second(torch.relu(self.first(images)))).flatten(1)
        return self.out(torch.tanh(self.twice(torch.tanh(self.twice(hidden)))))


@pytest.mark.parametrize("step_rule", ["kl_clip", "quadratic_model"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_method_trains_convolutions_and_shared_layers(name: str, step_rule: str) -> None:
    torch.manual_seed(0)
    model = ConvNet()
    images = torch.randn(48, 1, 6, 6)
    labels = images.reshape(48, 3, 12).sum(2).argmax(1)  # the brightest third
    optimizer = OPTIMIZERS[name](
        model,
        "categorical",
        step_rule=step_rule,
        damping=0.3,
        kl_clip=0.1,  # type: ignore[arg-type]
    )
    assert list(optimizer.layers()) == ["first", "second", "twice", "out"]

    def loss() -> torch.Tensor:
        model.zero_grad()
        return negative_log_likelihood("categorical", model(images), labels).mean()

    start = loss().item()
    for _ in range(30):
        loss().backward()
        optimizer.step()
    assert loss().item() < 0.8 * start


def test_the_exact_optimizer_solves_with_the_whole_networks_fisher() -> None:
    model = network()
    optimizer = build("exact", model, lr=0.3, damping=0.2, step_rule="none", momentum=0.0)
    backward(model)
    before = [p.detach().clone() for p in model.parameters()]
    gradients = {
        n: torch.cat([model.get_submodule(n).weight.grad, model.get_submodule(n).bias.grad[:, None]], 1)
        for n in ("0", "2")
    }
    optimizer.step()
    steps = kfsvd.natural_gradient(optimizer.samples(), gradients, 0.2)
    expected = [steps["0"][:, :-1], steps["0"][:, -1], steps["2"][:, :-1], steps["2"][:, -1]]
    for p, b, step in zip(model.parameters(), before, expected, strict=True):
        torch.testing.assert_close(p, b - 0.3 * step, rtol=1e-10, atol=1e-13)


def test_factors_are_averaged_with_the_published_weights() -> None:
    model = network()
    optimizer = build("kfac", model, refresh_every=1, decay=0.5)
    expected = None
    for k in range(1, 5):
        backward(model)
        optimizer.step()
        (new,) = kfsvd.fit("kfac", optimizer.samples()["0"]).terms
        rho = min(1 - 1 / k, 0.5)
        expected = (
            new if expected is None else tuple(rho * e + (1 - rho) * n for e, n in zip(expected, new, strict=True))
        )
        for a, b in zip(optimizer.approximations()["0"].terms[0], expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-15)


def test_a_flipped_second_term_does_not_cancel_its_past() -> None:
    from kfsvd.curvature.kronecker_sum import KroneckerSum

    samples = kfsvd.LayerSamples(torch.randn(9, 4).double(), torch.randn(9, 3).double())
    past = kfsvd.fit("deflation", samples)
    (a, b), (c, d) = past.terms
    mean = past.average(KroneckerSum(((a, b), (-c, -d))), 0.5)
    torch.testing.assert_close(mean.dense(), past.dense())


def test_refreshes_come_at_their_intervals() -> None:
    model = network()
    optimizer = build("kfac", model, statistics_every=2, inverse_every=4, refresh_every=3)
    seen: list[tuple[int, str]] = []

    class Recorder:
        def __init__(self, name: str) -> None:
            seen.append((len(losses), name))

        def __enter__(self) -> None: ...
        def __exit__(self, *_: object) -> None: ...

    optimizer.phase = Recorder
    losses: list[float] = []
    for _ in range(9):
        loss = backward(model)
        optimizer.step()
        losses.append(loss)
    assert [i for i, name in seen if name == "curvature"] == [0, 2, 4, 6, 8]
    assert [i for i, name in seen if name == "inversion"] == [0, 4, 8]
    assert [i for i, name in seen if name == "update"] == list(range(9))


@pytest.mark.parametrize(("curvature_batch", "expected"), [(0.25, 4), (1.0, 16), (7, 7), (100, 16), (0.001, 1)])
def test_the_curvature_batch_is_a_share_or_a_number(curvature_batch: float, expected: int) -> None:
    model = network()
    optimizer = build("kfac", model, curvature_batch=curvature_batch)
    backward(model)
    optimizer.step()
    assert len(optimizer.samples()["0"]) == expected


def test_the_same_seed_repeats_and_the_global_stream_is_untouched() -> None:
    def run(seed: int, noise: int) -> torch.Tensor:
        model = network()
        optimizer = build("kpsvd", model, seed=seed)
        torch.manual_seed(noise)
        for _ in range(3):
            backward(model)
            optimizer.step()
        assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(noise)))
        return model[0].weight.detach()

    assert torch.equal(run(0, noise=1), run(0, noise=2))
    assert not torch.equal(run(0, noise=1), run(1, noise=1))


def test_other_parameters_are_named_once_and_updated_by_adam() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5), nn.Linear(5, 6)).double()
    with pytest.warns(UserWarning, match=r"updated by Adam with lr=0.01.*: 1.weight, 1.bias \(LayerNorm is neither"):
        optimizer = build("kfac", model, fallback_lr=0.01)
    assert optimizer.fallback_parameters == ("1.weight", "1.bias")
    reference = {n: p.detach().clone().requires_grad_() for n, p in model[1].named_parameters()}
    adam = torch.optim.Adam(reference.values(), lr=0.01)
    for _ in range(3):
        backward(model)
        for n, p in reference.items():
            p.grad = model[1].get_parameter(n).grad.clone()
        optimizer.step()
        adam.step()
        for n, p in reference.items():
            assert torch.equal(model[1].get_parameter(n), p)


def test_samples_are_kept_on_request_alone() -> None:
    model = network()
    optimizer = kfsvd.KFAC(model, "bernoulli")
    for _ in range(2):
        with pytest.raises(RuntimeError, match="keep_samples = True"):
            optimizer.samples()
        backward(model)
        optimizer.step()
    optimizer.keep_samples = True
    assert optimizer.samples() == {}
    for _ in range(9):
        backward(model)
        optimizer.step()
    assert [len(own) for own in optimizer.samples().values()] == [4, 4]


def test_frozen_layers_stay_and_a_frozen_bias_leaves_the_samples() -> None:
    model = network()
    model[0].weight.requires_grad_(False)
    model[0].bias.requires_grad_(False)
    model[2].bias.requires_grad_(False)
    frozen = model[0].weight.clone(), model[2].bias.clone()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer = build("kfac", model)
    backward(model)
    optimizer.step()
    assert torch.equal(model[0].weight, frozen[0])
    assert torch.equal(model[2].bias, frozen[1])
    assert optimizer.approximations()["2"].terms[0][0].shape == (5, 5)


def test_a_scheduler_and_a_closure_work_as_with_any_torch_optimizer() -> None:
    model = network()
    optimizer = build("kfac", model, lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)

    def closure() -> float:
        return backward(model)

    assert optimizer.step(closure) == pytest.approx(backward(network()))
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] == 0.05


def test_evaluation_between_steps_is_not_mistaken_for_training() -> None:
    model = network()
    optimizer = build("kfac", model, curvature_batch=1.0)
    backward(model)
    model.eval()
    with torch.no_grad():
        model(torch.full((3, 6), 9.0).double())
    model(torch.full((3, 6), 9.0).double())
    model.train()
    optimizer.step()
    assert len(optimizer.samples()["0"]) == 16


def test_a_step_before_any_forward_pass_says_so() -> None:
    with pytest.raises(RuntimeError, match="has not been called with gradients in training mode"):
        build("kfac", network()).step()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": -1.0}, r"lr must be [a-z ]+ -?\d; got -1.0"),
        ({"damping": 0.0}, r"damping must be [a-z ]+ -?\d; got 0.0"),
        ({"decay": 1.0}, r"decay must be [a-z ]+ -?\d; got 1.0"),
        ({"refresh_every": 0}, "refresh_every must be a number of at least 1"),
        ({"damping_rule": "pi"}, "damping_rule must be one of factored, factored_pi, exact; got 'pi'"),
        ({"guard": "abs"}, "guard must be one of floor, absolute, raise; got 'abs'"),
        (
            {"step_rule": "clip"},
            "step_rule must be one of kl_clip, quadratic_model, adam_norm, sgd_norm, none; got 'clip'",
        ),
    ],
)
def test_bad_options_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build("kfac", network(), **options)


def test_a_model_with_nothing_to_precondition_is_refused() -> None:
    with pytest.raises(ValueError, match="no Linear or Conv2d layer that is supported"):
        build("kfac", nn.Sequential(nn.LayerNorm(3)))


@pytest.mark.parametrize("solver", ["gram", "matrix_free"])
def test_a_rank_above_two_takes_exact_steps_with_either_solver(solver: str) -> None:
    model = network()
    optimizer = build("kpsvd", model, rank=3, solver=solver, damping=0.5, step_rule="none", momentum=0.0, lr=0.3)
    assert optimizer.damping_rule == "exact"
    backward(model)
    before, gradient = model[0].weight.clone(), torch.cat([model[0].weight.grad, model[0].bias.grad[:, None]], 1)
    optimizer.step()
    curvature = kfsvd.fit("lanczos", optimizer.samples()["0"], rank=3)
    dense = curvature.dense() + 0.5 * torch.eye(35, dtype=torch.float64)
    step = torch.linalg.solve(dense, gradient.mT.flatten()).reshape(7, 5).mT
    torch.testing.assert_close(model[0].weight, before - 0.3 * step[:, :-1], rtol=1e-6, atol=1e-8)
    with pytest.raises(ValueError, match="damping_rule must be one of exact; got 'factored'"):
        build("kpsvd", network(), rank=3, damping_rule="factored")
