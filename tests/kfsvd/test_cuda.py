"""On a GPU: the same trainings as on the CPU, no waiting between refreshes, checkpoints that cross over.

Skipped where there is none. Labels are not sampled wherever both devices are compared: their generators differ.
"""

from __future__ import annotations

import copy
import inspect
from typing import Any

import pytest
import torch
from torch import nn

import kfsvd.inverse.low_rank
from kfsvd import capture, fit, natural_gradient, negative_log_likelihood, relative_error
from kfsvd.inverse.low_rank import LowRankInverse
from kfsvd.linalg.cholesky import damped_cholesky_inverses
from kfsvd.linalg.eigh import IN_FLOAT64, ON_HOST, symmetric_eigh
from tests.kfsvd.optimizers.loops import EVERY, INPUTS, equal, make, network, train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")

GPU = "cuda"
FACTORED = ("kfac", "kpsvd", "deflation", "lanczos", "kfac_corrected")
RULES = ("kl_clip", "adam_norm", "sgd_norm", "none", "quadratic_model")


def options_of(name: str, **options: Any) -> dict[str, Any]:
    """Those that the optimizer takes, and labels that are not sampled."""
    taken = inspect.signature(EVERY[name]).parameters
    fisher = "empirical" if name == "kbfgs" else "exact"
    exact = {"fisher": fisher, "refresh_every": 3, "curvature_batch": 0.5}
    return {key: value for key, value in (exact | options).items() if key in taken or "options" in taken}


def trained(name: str, device: str, steps: int = 12, **options: Any) -> tuple[nn.Module, Any]:
    model = network(norm=True).to(device)
    optimizer = make(name, model, **options)
    train(model, optimizer, steps, inputs=INPUTS.to(device))
    return model, optimizer


def assert_alike(model: nn.Module, other: nn.Module, tolerance: float = 1e-7) -> None:
    start = network(norm=True)
    for p, q, before in zip(model.parameters(), other.parameters(), start.parameters(), strict=True):
        moved = (q.detach().cpu() - before).norm()
        assert moved > 0
        assert (p.detach().cpu() - q.detach().cpu()).norm() <= tolerance * moved


@pytest.mark.parametrize("name", [name for name in EVERY if name != "soap"])  # its null space has any basis
def test_every_optimizer_makes_the_steps_that_it_makes_on_a_cpu(name: str) -> None:
    here, there = (trained(name, device, **options_of(name))[0] for device in ("cpu", GPU))
    assert_alike(here, there)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", FACTORED)
def test_every_step_rule_does(name: str, rule: str) -> None:
    here, there = (trained(name, device, **options_of(name, step_rule=rule))[0] for device in ("cpu", GPU))
    assert_alike(here, there)


@pytest.mark.parametrize("name", FACTORED)
def test_low_rank_inverses_do(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kfsvd.inverse.low_rank, "SMALL", (0, 0))
    wide = torch.rand(64, 300, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    losses = []
    for device in ("cpu", GPU):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(300, 160), nn.Tanh(), nn.Linear(160, 300)).double().to(device)
        optimizer = make(name, model, inverse="low_rank", fisher="empirical", refresh_every=3, damping=1.0)
        seen = []
        for step in range(9):
            train(model, optimizer, 1, start=step, inputs=wide.to(device))
            seen.append(negative_log_likelihood("bernoulli", model(wide.to(device)), wide.to(device)).mean().item())
        assert any(isinstance(inverse, LowRankInverse) for inverse in optimizer.inverses().values())
        losses.append(seen)
    # the iterations start from the same random columns, so that both find the same directions but for rounding
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


@pytest.mark.parametrize("inverse", ["dense", "low_rank"])
@pytest.mark.parametrize("name", FACTORED)
def test_a_training_in_single_precision_is_the_same_every_time(
    name: str, inverse: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kfsvd.inverse.low_rank, "SMALL", (0, 0))
    inputs, models = torch.rand(64, 200, device=GPU), []
    for _ in range(2):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(200, 150), nn.Tanh(), nn.Linear(150, 200)).to(GPU)
        train(model, make(name, model, inverse=inverse, refresh_every=2), 12, inputs=inputs)
        models.append(model)
    assert equal(*models)


@pytest.mark.parametrize("name", ["kfac", "deflation", "ekfac", "eva"])
def test_convolutions_do(name: str) -> None:
    images = torch.rand(16, 1, 6, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    labels = torch.arange(16) % 3
    models = []
    for device in ("cpu", GPU):
        torch.manual_seed(1)
        layers = [nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(64, 3)]
        model = nn.Sequential(*layers).double().to(device)
        optimizer = EVERY[name](model, "categorical", fisher="exact", refresh_every=2)
        for _ in range(6):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images.to(device)), labels.to(device)).backward()
            optimizer.step()
        models.append([p.detach().cpu() for p in model.parameters()])
    for p, q in zip(*models, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "quadratic_model"])
@pytest.mark.parametrize("inverse", ["dense", "low_rank"])
@pytest.mark.parametrize("name", FACTORED)
def test_steps_between_refreshes_never_wait_for_the_device(
    name: str, inverse: str, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kfsvd.inverse.low_rank, "SMALL", (0, 0))
    inputs = torch.rand(64, 200, device=GPU)
    model = nn.Sequential(nn.Linear(200, 150), nn.LayerNorm(150), nn.Linear(150, 200)).to(GPU)
    optimizer = make(name, model, inverse=inverse, refresh_every=100, step_rule=rule, damping=1.0)
    train(model, optimizer, 2, inputs=inputs)
    negative_log_likelihood("bernoulli", model(inputs), inputs).mean().backward()
    before = [p.detach().clone() for p in model.parameters()]
    torch.cuda.set_sync_debug_mode("error")
    try:
        optimizer.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert not any(torch.equal(p, old) for p, old in zip(model.parameters(), before, strict=True))


@pytest.mark.parametrize("name", EVERY)
def test_a_checkpoint_continues_bit_for_bit(name: str) -> None:
    options = options_of(name, **({} if name == "kbfgs" else {"fisher": "monte_carlo"}))
    model, optimizer = trained(name, GPU, 7, **options)
    restored = network(norm=True).to(GPU)
    fresh = make(name, restored, **options)
    state = copy.deepcopy({"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    restored.load_state_dict(state["model"])
    fresh.load_state_dict(state["optimizer"])
    train(model, optimizer, 6, start=7, inputs=INPUTS.to(GPU))
    train(restored, fresh, 6, start=7, inputs=INPUTS.to(GPU))
    assert equal(model, restored)


@pytest.mark.parametrize(("written", "read"), [("cpu", GPU), (GPU, "cpu")])
@pytest.mark.parametrize("name", EVERY)
def test_a_checkpoint_crosses_over_between_devices(name: str, written: str, read: str) -> None:
    options = options_of(name)
    model, optimizer = trained(name, written, 7, **options)
    restored = network(norm=True).to(read)
    fresh = make(name, restored, **options)
    restored.load_state_dict(model.state_dict())
    fresh.load_state_dict(optimizer.state_dict())
    train(model, optimizer, 6, start=7, inputs=INPUTS.to(written))
    train(restored, fresh, 6, start=7, inputs=INPUTS.to(read))
    assert_alike(model, restored)


def definite(size: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(size, size, generator=generator, dtype=torch.float64)
    return (rows @ rows.mT / size + 0.1 * torch.eye(size)).to(GPU)


def test_inverses_of_many_matrices_are_those_of_each_alone() -> None:
    sizes = (785, 1000, 1001, 500, 501, 250, 250, 31, 30, 785, 1000, 500, 31)
    shift = torch.tensor(0.05, dtype=torch.float64, device=GPU)
    matrices = [definite(size, k) for k, size in enumerate(sizes)]
    found = damped_cholesky_inverses(matrices, [shift] * len(matrices))
    for matrix, inverse in zip(matrices, found, strict=True):
        eye = torch.eye(len(matrix), dtype=torch.float64, device=GPU)
        torch.testing.assert_close((matrix + shift * eye) @ inverse, eye, rtol=0, atol=1e-9)
        assert torch.equal(inverse, damped_cholesky_inverses([matrix], [shift])[0])


@pytest.mark.parametrize("size", [5, ON_HOST, ON_HOST + 1, IN_FLOAT64, IN_FLOAT64 + 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_eigenpairs_are_right_wherever_they_are_computed(size: int, dtype: torch.dtype) -> None:
    matrix = definite(size, 1).to(dtype)
    values, vectors = symmetric_eigh(matrix)
    assert values.device == vectors.device == matrix.device
    assert values.dtype == vectors.dtype == dtype
    error = (vectors * values @ vectors.mT - matrix).norm() / matrix.norm()
    assert error < 100 * torch.finfo(dtype).eps
    assert (vectors.mT @ vectors - torch.eye(size, device=GPU)).norm() < 1000 * torch.finfo(dtype).eps


def test_one_that_rounding_has_spoiled_is_mended_among_others() -> None:
    good = definite(40, 1)
    spoiled = torch.ones(40, 40, dtype=torch.float64, device=GPU)
    spoiled.diagonal().sub_(1e-15)
    zero = torch.zeros((), dtype=torch.float64, device=GPU)
    first, mended, last = damped_cholesky_inverses([good, spoiled, good], [zero] * 3)
    assert torch.equal(first, last)
    torch.testing.assert_close(good @ first, torch.eye(40, dtype=torch.float64, device=GPU), rtol=0, atol=1e-9)
    assert torch.isfinite(mended).all()


@pytest.mark.parametrize("name", [*FACTORED, "tkfac", "ekfac", "foof", "tnt", "eva"])
def test_fits_errors_and_inverses_are_those_of_a_cpu(name: str) -> None:
    model = network()
    samples = capture(model, [INPUTS], "bernoulli", torch.Generator(), fisher="exact")["0"]
    on_device = capture(
        copy.deepcopy(model).to(GPU), [INPUTS.to(GPU)], "bernoulli", torch.Generator(GPU), fisher="exact"
    )["0"]
    here, there = fit(name, samples), fit(name, on_device)
    assert relative_error(samples, here) == pytest.approx(relative_error(on_device, there), rel=1e-6, abs=1e-9)
    gradient = torch.randn(5, 7, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    steps = [f.inverse(0.3).direction(g).matrix().cpu() for f, g in ((here, gradient), (there, gradient.to(GPU)))]
    torch.testing.assert_close(*steps, rtol=1e-7, atol=1e-9)


def test_natural_gradients_are_those_of_a_cpu() -> None:
    model = network()
    solved = []
    for device in ("cpu", GPU):
        there = copy.deepcopy(model).to(device)
        samples = capture(there, [INPUTS.to(device)], "bernoulli", torch.Generator(device), fisher="exact")
        gradients = {name: torch.ones(*s.shape, dtype=torch.float64, device=device) for name, s in samples.items()}
        solved.append({name: step.cpu() for name, step in natural_gradient(samples, gradients, 0.3).items()})
    for name, step in solved[0].items():
        torch.testing.assert_close(step, solved[1][name], rtol=1e-7, atol=1e-9)
