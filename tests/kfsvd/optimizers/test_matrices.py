"""Shampoo, its square, SWAN, SOAP and Muon against their own definitions, and against peers where there are any."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import nn

import kfsvd
from kfsvd.optimizers import MATRIX_OPTIMIZERS
from kfsvd.optimizers.swan import normalised_rows, whitened
from tests.kfsvd import oracle
from tests.kfsvd.optimizers.loops import INPUTS, equal, loss_of, make, network, train


def gradients(steps: int, d_out: int = 4, d_in: int = 5) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(d_out, d_in, generator=generator).double() for _ in range(steps)]


def fed(optimizer: torch.optim.Optimizer, layer: nn.Linear, given: list[torch.Tensor]) -> list[torch.Tensor]:
    """The steps that gradients [W b] of a single layer lead to, as [W b]."""
    steps = []
    for gradient in given:
        columns = layer.weight.shape[1]
        layer.weight.grad = gradient[:, :columns].clone()
        parts = [layer.weight]
        if layer.bias is not None:
            layer.bias.grad = gradient[:, -1].clone()
            parts.append(layer.bias[:, None])
        before = torch.cat([part.detach().clone() for part in parts], 1)
        optimizer.step()
        parts = [layer.weight] if layer.bias is None else [layer.weight, layer.bias[:, None]]
        steps.append(before - torch.cat([part.detach() for part in parts], 1))
    return steps


def layer(d_out: int = 4, d_in: int = 5, *, bias: bool = False) -> nn.Linear:
    torch.manual_seed(3)
    return nn.Linear(d_in, d_out, bias=bias).double()


def root(matrix: np.ndarray, exponent: float) -> np.ndarray:
    return np.real(scipy.linalg.fractional_matrix_power(matrix, exponent))


def test_shampoo_is_its_formula_with_the_bias_as_a_column() -> None:
    net, given = layer(d_in=4, bias=True), gradients(4)
    steps = fed(kfsvd.Shampoo(net, lr=1.0, momentum=0.0, damping=1e-2, inverse_every=1), net, given)
    for k, (step, gradient) in enumerate(zip(steps, given, strict=True), start=1):
        left = sum((g @ g.mT).numpy() for g in given[:k]) + 1e-2 * np.eye(4)
        right = sum((g.mT @ g).numpy() for g in given[:k]) + 1e-2 * np.eye(5)
        expected = root(left, -0.25) @ gradient.numpy() @ root(right, -0.25)
        np.testing.assert_allclose(step.numpy(), expected, rtol=1e-9, atol=1e-11)


def test_the_square_is_one_power_step_from_the_identity_and_its_inverse_root() -> None:
    net, given = layer(), gradients(4)
    optimizer = kfsvd.ShampooSquared(net, lr=1.0, momentum=0.0, decay=0.5, damping=1e-2, inverse_every=1)
    steps = fed(optimizer, net, given)
    weights = np.array([0.5 ** (4 - k) for k in range(1, 5)])
    weights /= weights.sum()
    fisher = sum(
        w * np.outer(v, v) for w, v in zip(weights, [g.numpy().flatten(order="F") for g in given], strict=True)
    )
    z = oracle.rearranged(fisher, 5, 4)
    right, left = (z @ np.eye(4).flatten()).reshape(5, 5), (z.T @ np.eye(5).flatten()).reshape(4, 4)
    f_hat = optimizer.approximations()[""].dense().numpy()
    assert oracle.relative(f_hat, np.kron(right, left) / np.trace(fisher)) < 1e-12
    assert np.trace(f_hat) == pytest.approx(np.trace(fisher), rel=1e-12)
    trace, pi = np.trace(fisher), np.sqrt((np.trace(right) / 5) / (np.trace(left) / 4))
    damped = np.kron(right / np.sqrt(trace) + pi * 0.1 * np.eye(5), left / np.sqrt(trace) + 0.1 / pi * np.eye(4))
    expected = root(damped, -0.5) @ given[-1].numpy().flatten(order="F")
    np.testing.assert_allclose(steps[-1].numpy().flatten(order="F"), expected, rtol=1e-9, atol=1e-11)


def test_shampoos_own_root_is_an_upper_bound_of_the_sum_of_gradients() -> None:
    """Σ vec G vec Gᵀ ⪯ r (L^{1/2} ⊗ R^{1/2}), r the rank of a gradient: lemma 8 of Gupta, Koren & Singer 2018."""
    given = gradients(6)
    vectors = [g.numpy().flatten(order="F") for g in given]
    left, right = (sum(m.numpy() for m in ms) for ms in ([g @ g.mT for g in given], [g.mT @ g for g in given]))
    bound = 4 * np.kron(root(right, 0.5), root(left, 0.5))
    assert np.linalg.eigvalsh(bound - sum(np.outer(v, v) for v in vectors)).min() > 0


@pytest.mark.parametrize(("rule", "length"), [("adam_norm", None), ("sgd_norm", "gradient")])
@pytest.mark.parametrize("kind", [kfsvd.Shampoo, kfsvd.ShampooSquared])
def test_grafted_steps_have_the_length_that_is_asked_for(kind: Any, rule: str, length: str | None) -> None:
    net, twin, given = layer(), layer(), gradients(5)
    free = fed(kind(layer(), lr=1.0, momentum=0.0), layer(), [])
    assert not free
    steps = fed(kind(net, lr=1e-3, momentum=0.0, step_rule=rule), net, given)
    adam = fed(torch.optim.Adam(twin.parameters(), lr=1e-3), twin, given)
    for step, theirs, gradient in zip(steps, adam, given, strict=True):
        expected = 1e-3 * gradient.norm() if length else theirs.norm()
        torch.testing.assert_close(step.norm(), expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (5, 5)])
def test_whitening_is_the_inverse_root_of_the_gram_matrix(shape: tuple[int, int]) -> None:
    matrix = gradients(1, *shape)[0]
    if shape[0] <= shape[1]:
        values, vectors = np.linalg.eigh((matrix @ matrix.mT).numpy())
        expected = vectors / np.sqrt(values) @ vectors.T @ matrix.numpy()
    else:
        values, vectors = np.linalg.eigh((matrix.mT @ matrix).numpy())
        expected = matrix.numpy() @ (vectors / np.sqrt(values) @ vectors.T)
    np.testing.assert_allclose(whitened(matrix, 40).numpy(), expected, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(whitened(matrix, 40).numpy(), scipy.linalg.polar(matrix.numpy())[0], atol=1e-9)


def test_swan_centres_scales_whitens_and_keeps_the_norm() -> None:
    net, (gradient,) = layer(4, 9), gradients(1, 4, 9)
    (step,) = fed(kfsvd.SWAN(net, lr=1.0, whitening_steps=40), net, [gradient])
    g = gradient.numpy()
    rows = (g - g.mean(1, keepdims=True)) / g.std(1, keepdims=True)
    np.testing.assert_allclose(normalised_rows(gradient).numpy(), rows, rtol=1e-12)
    white = root(rows @ rows.T, -0.5) @ rows
    np.testing.assert_allclose(step.numpy(), white * np.linalg.norm(rows) / np.linalg.norm(white), rtol=1e-8)
    assert float(step.norm()) == pytest.approx(6.0), "√(4·9): entries of size one"


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_swan_does_not_depend_on_the_scale_and_has_no_state(scale: float) -> None:
    net, other, given = layer(), layer(), gradients(2)
    optimizer = kfsvd.SWAN(net, lr=0.1)
    steps = fed(optimizer, net, given)
    scaled = fed(kfsvd.SWAN(other, lr=0.1), other, [g * scale for g in given])
    for step, same in zip(steps, scaled, strict=True):
        torch.testing.assert_close(step, same, rtol=1e-9, atol=1e-12)
    assert not any(optimizer.state.values())


@pytest.mark.parametrize("shape", [(6, 8), (8, 6)])
def test_muons_singular_values_are_near_one(shape: tuple[int, int]) -> None:
    net, given = layer(*shape), gradients(3, *shape)
    for scale, factor in (("original", max(1, shape[0] / shape[1]) ** 0.5), ("match_rms_adamw", 0.2 * 8**0.5)):
        steps = fed(kfsvd.Muon(net, lr=1.0, scale=scale), net, given)
        for step in steps:
            values = torch.linalg.svdvals(step) / factor
            assert values.min() > 0.5
            assert values.max() < 1.3


@pytest.mark.parametrize("nesterov", [True, False])
def test_muon_is_torchs_with_adamw_for_biases(nesterov: bool) -> None:
    model, reference = network(torch.float32), network(torch.float32)
    optimizer = make("muon", model, nesterov=nesterov, weight_decay=0.1, fallback_lr=0.01)
    weights, biases = ([p for p in reference.parameters() if p.ndim == n] for n in (2, 1))
    theirs = [
        torch.optim.Muon(weights, lr=0.02, weight_decay=0.1, nesterov=nesterov, adjust_lr_fn="original"),
        torch.optim.AdamW(biases, lr=0.01, weight_decay=0.1),
    ]
    inputs = INPUTS.float()
    for step in range(4):
        train(model, optimizer, 1, start=step, inputs=inputs)
        batch = inputs[torch.randperm(24, generator=torch.Generator().manual_seed(step))[:12]]
        reference.zero_grad()
        loss_of(reference, batch).backward()
        for each in theirs:
            each.step()
    for p, q in zip(model.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-6, atol=1e-7)


def test_muon_leaves_the_ends_to_adamw_where_it_is_told() -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 5), nn.Linear(5, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer = kfsvd.Muon(model, hidden_only=True)
    assert list(optimizer.layers()) == ["1"]
    assert optimizer.fallback_parameters == ("0.weight", "0.bias", "1.bias", "2.weight", "2.bias")
    with pytest.raises(ValueError, match="the model has none"):
        kfsvd.Muon(network(), hidden_only=True)


def test_soap_is_adam_in_the_basis_of_its_moments() -> None:
    """With bases that are never turned after the first: Adam on gradients rotated by the first one's vectors."""
    net, given = layer(4, 4), gradients(6, 4, 4)
    steps = fed(kfsvd.SOAP(net, lr=0.1, beta1=0.9, beta2=0.99, eps=1e-14, refresh_every=1000), net, given)
    assert not steps[0].any(), "the first gradient makes the bases"
    u, _, vt = np.linalg.svd(given[0].numpy())
    turned = [torch.from_numpy(u.T @ g.numpy() @ vt.T) for g in given[1:]]
    twin = layer(4, 4)
    adam = fed(torch.optim.Adam(twin.parameters(), lr=0.1, betas=(0.9, 0.99), eps=1e-14), twin, turned)
    for step, theirs in zip(steps[1:], adam, strict=True):
        np.testing.assert_allclose(step.numpy(), u @ theirs.numpy() @ vt, rtol=1e-9, atol=1e-11)


def test_soap_turns_its_bases_by_a_power_step_and_qr() -> None:
    """By hand: every third step both bases, their vectors sorted by their quotients, and V in the order of them."""
    net, given = layer(4, 5), gradients(11)
    steps = fed(kfsvd.SOAP(net, lr=1.0, beta1=0.9, beta2=0.99, decay=0.6, eps=1e-14, refresh_every=3), net, given)
    first, *others = [g.numpy() for g in given]
    moments = [0.4 * first @ first.T, 0.4 * first.T @ first]
    bases = [np.linalg.eigh(moment)[1][:, ::-1] for moment in moments]
    mean, square = np.zeros((4, 5)), np.zeros((4, 5))
    for count, (gradient, step) in enumerate(zip(others, steps[1:], strict=True), start=1):
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.99 * square + 0.01 * (bases[0].T @ gradient @ bases[1]) ** 2
        rotated = bases[0].T @ mean @ bases[1] / (1 - 0.9**count)
        adam = rotated / np.sqrt(square / (1 - 0.99**count))
        np.testing.assert_allclose(step.numpy(), bases[0] @ adam @ bases[1].T, rtol=1e-7, atol=1e-9)
        moments = [0.6 * moments[0] + 0.4 * gradient @ gradient.T, 0.6 * moments[1] + 0.4 * gradient.T @ gradient]
        if count % 3 == 0:
            for side, (moment, basis) in enumerate(zip(moments, bases, strict=True)):
                image = moment @ basis
                order = np.argsort(-(basis * image).sum(0))
                bases[side] = np.linalg.qr(image[:, order])[0]
                square = np.take(square, order, axis=side)


def test_soaps_bases_converge_to_eigenvectors() -> None:
    net = layer(4, 6)
    optimizer = kfsvd.SOAP(net, refresh_every=1, beta2=0.9)
    (gradient,) = gradients(1, 4, 6)
    wobble = gradients(60, 4, 6)
    fed(optimizer, net, [gradient + 0.3 * w for w in wobble])
    for _ in range(300):
        fed(optimizer, net, [gradient])
    state = optimizer.state[net.weight]
    basis = state["left_basis"]
    rotated = basis.mT @ state["left"] @ basis
    off = rotated - torch.diag(rotated.diagonal())
    assert off.norm() < 1e-8 * rotated.norm()
    torch.testing.assert_close(basis.mT @ basis, torch.eye(4).double(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", MATRIX_OPTIMIZERS)
def test_gradients_alone_take_no_pass_over_the_model_and_no_random_number(name: str) -> None:
    model = network()
    optimizer = make(name, model)
    calls: list[int] = []
    model.register_forward_hook(lambda *_: calls.append(1))
    before = torch.get_rng_state()
    train(model, optimizer, 3)
    assert len(calls) == 3
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", MATRIX_OPTIMIZERS)
def test_convolutions_and_all_that_is_no_matrix(name: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3))
    with pytest.warns(UserWarning, match=r"updated by AdamW with lr=0.001, not as matrices: 1.weight, 1.bias \(Batch"):
        optimizer = MATRIX_OPTIMIZERS[name](model, "categorical", **({"lr": 0.01} if name in ("swan", "soap") else {}))
    assert list(optimizer.layers()) == ["0", "4"]
    assert optimizer.fallback_parameters[:2] == (
        ("1.weight", "1.bias") if optimizer.with_bias else ("0.bias", "1.weight")
    )
    images = torch.randn(48, 1, 8, 8)
    labels = images[:, 0, :, :6].reshape(48, 8, 3, 2).sum((1, 3)).argmax(1)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("name", MATRIX_OPTIMIZERS)
def test_weight_decay_is_decoupled_and_schedules_and_closures_work(name: str) -> None:
    decayed, plain = network(), network()
    first, second = make(name, decayed, weight_decay=0.1, lr=0.5), make(name, plain, lr=0.5)
    before = plain[0].weight.detach().clone()
    for model, optimizer in ((decayed, first), (plain, second)):
        train(model, optimizer, 1)
    torch.testing.assert_close(decayed[0].weight - plain[0].weight, -0.5 * 0.1 * before, rtol=1e-9, atol=1e-12)
    scheduler = torch.optim.lr_scheduler.StepLR(first, 1, gamma=0.0)

    def closure() -> float:
        first.zero_grad()
        loss = loss_of(decayed, INPUTS)
        loss.backward()
        return loss.item()

    loss = loss_of(decayed, INPUTS).item()
    assert first.step(closure) == loss, "that before the step"
    scheduler.step()
    still = [p.detach().clone() for p in decayed.parameters()]
    first.step(closure)
    assert all(torch.equal(p, q) for p, q in zip(decayed.parameters(), still, strict=True))
    with pytest.raises(ValueError, match="make a new one of the model"):
        first.add_param_group({"params": [nn.Parameter(torch.zeros(2))]})


def test_a_bias_of_a_matrix_that_is_frozen_later_says_so() -> None:
    model = network()
    optimizer = make("shampoo", model)
    train(model, optimizer, 1)
    model[0].bias.requires_grad_(False)
    with pytest.raises(RuntimeError, match="the bias of layer '0' was frozen or released"):
        train(model, optimizer, 1, start=1)
    other = network()
    made = make("soap", other)
    train(other, made, 2)
    other[0].bias.requires_grad_(False)
    other[0].bias.grad = None
    train(other, made, 2, start=2)
    assert not equal(model, other)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("shampoo", {"lr": -1.0}, r"lr must be [a-z ]+ -?\d; got -1.0"),
        ("shampoo", {"damping": 0.0}, r"damping must be [a-z ]+ -?\d; got 0.0"),
        ("shampoo", {"step_rule": "kl_clip"}, "step_rule must be one of none, adam_norm, sgd_norm; got 'kl_clip'"),
        ("shampoo_squared", {"decay": 1.5}, r"decay must be [a-z ]+ -?\d; got 1.5"),
        ("shampoo_squared", {"inverse_every": 0}, "inverse_every must be a number of at least 1"),
        ("swan", {"whitening_steps": 0}, "whitening_steps must be at least 1; got 0"),
        ("soap", {"beta1": 1.0}, r"beta1 must be [a-z ]+ -?\d; got 1.0"),
        ("soap", {"refresh_every": 0}, "refresh_every must be at least 1; got 0"),
        ("muon", {"scale": "rms"}, "scale must be one of original, match_rms_adamw; got 'rms'"),
        ("muon", {"momentum": 1.0}, r"momentum must be [a-z ]+ -?\d; got 1.0"),
    ],
)
def test_bad_options_are_named(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MATRIX_OPTIMIZERS[name](network(), "bernoulli", **options)


def test_a_model_or_likelihood_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="no Linear or Conv2d layer that is supported"):
        kfsvd.SWAN(nn.Sequential(nn.LayerNorm(3)))
    with pytest.raises(ValueError, match="likelihood must be one of"):
        kfsvd.SWAN(network(), "poisson")
    with pytest.raises(TypeError, match="DataParallel is not supported"):
        kfsvd.SWAN(nn.DataParallel(network()))
