"""The coarse correction across layers against dense matrices, and what it promises in every coarse space."""

from __future__ import annotations

import itertools
from typing import Any, get_args

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

import kfsvd
from kfsvd.optimizers.coarse import coarse_correction, fisher_product
from kfsvd.optimizers.two_level import leading_vectors
from kfsvd.options.choices import Coarse
from tests.kfsvd.optimizers.loops import INPUTS, loss_of, make, network

DAMPING = 0.2


def prepared(**options: Any) -> tuple[Any, dict[str, torch.Tensor], np.ndarray]:
    """An optimizer after its first step, the gradients at hand, and (F + λI) of both layers, dense."""
    model = network()
    options = {"curvature_batch": 0.5, "damping": DAMPING, "lr": 0.0, "step_rule": "none", **options}
    optimizer = make("two_level_kfac", model, **options)
    optimizer.zero_grad()
    loss_of(model, INPUTS).backward()
    optimizer.step()
    gradients = {name: torch.cat([m.weight.grad, m.bias.grad[:, None]], 1) for name, m in optimizer.layers().items()}
    rows = []
    for n in range(len(optimizer.samples()["0"])):
        parts = [torch.outer(s.gradients[n], s.activations[n]).numpy().ravel() for s in optimizer.samples().values()]
        rows.append(np.concatenate(parts))
    dense = np.einsum("ni,nj->ij", rows, rows) / len(rows)
    return optimizer, gradients, dense + DAMPING * np.eye(len(dense))


def vector(parts: dict[str, torch.Tensor] | list[torch.Tensor]) -> np.ndarray:
    return np.concatenate([p.numpy().ravel() for p in (parts.values() if isinstance(parts, dict) else parts)])


def test_the_product_is_that_of_the_whole_networks_fisher() -> None:
    optimizer, gradients, dense = prepared()
    product = fisher_product(list(optimizer.samples().values()), list(gradients.values()), DAMPING)
    np.testing.assert_allclose(vector(product), dense @ vector(gradients), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("coarse", get_args(Coarse))
def test_the_step_is_the_formula_of_dense_matrices(coarse: str) -> None:
    several = {"coarse_vectors": 3} if coarse in ("spectral", "krylov") else {}
    optimizer, gradients, dense = prepared(coarse=coarse, **several)
    g = vector(gradients)
    inverses, shapes = optimizer.inverses(), {name: v.shape for name, v in gradients.items()}

    def kfac(v: np.ndarray) -> np.ndarray:
        parts = torch.from_numpy(v).split([s.numel() for s in shapes.values()])
        return vector([inverses[n](p.reshape(shapes[n])) for n, p in zip(shapes, parts, strict=True)])

    y = kfac(g)
    r = g - dense @ y
    if coarse == "krylov":
        whole = [y, kfac(dense @ y), kfac(dense @ kfac(dense @ y))]
    elif coarse == "spectral":
        split = [leading_vectors(c, 3) for c in optimizer.approximations().values()]
        whole = [vector([a, b]) for a, b in zip(*split, strict=True)]
    else:
        whole = [np.ones_like(g) if coarse == "nicolaides" else r]
    first = next(iter(shapes.values())).numel()
    basis = np.array([np.where((np.arange(len(g)) < first) == top, v, 0) for v in whole for top in (True, False)])
    expected = y + basis.T @ np.linalg.solve(basis @ dense @ basis.T, basis @ r)
    actual = vector(optimizer.precondition())
    np.testing.assert_allclose(actual, expected, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(basis @ (g - dense @ actual), 0, atol=1e-8)
    assert np.linalg.norm(actual - y) > 1e-4 * np.linalg.norm(y)


def test_the_whole_space_is_the_exact_solve() -> None:
    optimizer, gradients, dense = prepared(coarse="spectral", coarse_vectors=100)
    expected = kfsvd.natural_gradient(optimizer.samples(), gradients, DAMPING)
    actual = optimizer.precondition()
    for name, step in expected.items():
        torch.testing.assert_close(actual[name], step, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(dense @ vector(actual), vector(gradients), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("coarse", get_args(Coarse))
def test_the_quadratic_model_is_never_higher_than_with_kfac(coarse: str) -> None:
    """The correction minimises it over the coarse space, starting from KFAC's step."""
    optimizer, gradients, dense = prepared(coarse=coarse)
    g = vector(gradients)
    plain = vector([optimizer.inverses()[name](v) for name, v in gradients.items()])

    def model(step: np.ndarray) -> float:
        return float(0.5 * step @ dense @ step - g @ step)

    assert model(vector(optimizer.precondition())) < model(plain)


def test_the_kl_clip_is_of_the_steps_own_size() -> None:
    optimizer, gradients, dense = prepared(coarse="nicolaides")
    layers = list(optimizer._layers.values())
    directions = optimizer._directions(layers, list(gradients.values()))
    step = vector([direction.matrix() for direction in directions])
    size = sum(float(direction.slope) for direction in directions)
    assert size == pytest.approx(float(step @ dense @ step), rel=1e-9)
    assert size != pytest.approx(float(step @ vector(gradients)), rel=1e-2)


def test_a_zero_vector_and_twins_in_the_basis_are_harmless() -> None:
    optimizer, gradients, _ = prepared()
    samples, parts = list(optimizer.samples().values()), list(gradients.values())
    single = coarse_correction(samples, [[p] for p in parts], parts, DAMPING)
    doubled = coarse_correction(samples, [[p, torch.zeros_like(p), 2 * p] for p in parts], parts, DAMPING)
    for one, other in zip(single, doubled, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-8)


def test_a_model_of_one_layer_needs_no_coupling_but_takes_the_correction() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 6)).double()
    optimizer = make("two_level_kfac", model, coarse="spectral", coarse_vectors=42, damping=0.3, lr=0.0)
    loss_of(model, INPUTS).backward()
    optimizer.step()
    gradient = torch.cat([model[0].weight.grad, model[0].bias.grad[:, None]], 1)
    exact = kfsvd.fit("exact", optimizer.samples()["0"]).solve(gradient, damping=0.3)
    torch.testing.assert_close(optimizer.precondition()["0"], exact, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"coarse": "fine"}, "coarse must be one of nicolaides, residual, spectral, krylov; got 'fine'"),
        ({"coarse": "residual", "coarse_vectors": 2}, "got 2 with coarse='residual'"),
        ({"coarse_vectors": 0}, "coarse_vectors must be at least 1"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make("two_level_kfac", network(), **options)


def test_its_fisher_matrix_is_that_of_the_last_four_batches_weighted_by_age() -> None:
    model = network()
    optimizer = make("two_level_kfac", model, decay=0.5, refresh_every=1, curvature_batch=0.25, lr=0.1)
    seen = []
    for _ in range(6):
        optimizer.zero_grad()
        loss_of(model, INPUTS).backward()
        optimizer.step()
        seen.append(optimizer.samples())
    pooled = optimizer._batch
    weights = np.array([0.125, 0.25, 0.5, 1.0]) / 1.875
    for name, samples in pooled.items():
        expected = sum(w * batch[name].dense() for w, batch in zip(weights, seen[-4:], strict=True))
        torch.testing.assert_close(samples.dense(), expected, rtol=1e-10, atol=1e-12)


def test_a_layer_that_is_frozen_leaves_the_window() -> None:
    """All layers' samples are of the same examples: batches with other layers in them cannot be joined to a new one."""
    model = network()
    optimizer = make("two_level_kfac", model, refresh_every=1, curvature_batch=0.25, lr=0.1)
    lengths = []
    for step in range(4):
        if step == 2:
            model[0].requires_grad_(False)
        optimizer.zero_grad()
        loss_of(model, INPUTS).backward()
        optimizer.step()
        lengths.append({name: len(samples) for name, samples in optimizer._batch.items()})
    one = round(len(INPUTS) / 4)
    assert lengths == [{"0": one, "2": one}, {"0": 2 * one, "2": 2 * one}, {"2": one}, {"2": 2 * one}]


def test_with_momentum_it_keeps_up_with_kfac() -> None:
    """With the newest batch's F alone it ends more than four nats higher."""
    losses = {}
    images = torch.from_numpy(load_digits().data / 16).float()
    for name, own in (("kfac", {}), ("two_level_kfac", {"coarse": "nicolaides"})):
        torch.manual_seed(0)
        widths = (64, 32, 16, 8, 16, 32, 64)
        layers = [nn.Linear(i, o) for i, o in itertools.pairwise(widths)]
        model = nn.Sequential(*(module for layer in layers for module in (layer, nn.Tanh())))[:-1]
        optimizer = make(name, model, lr=0.3, damping=0.03, **own)
        generator = torch.Generator().manual_seed(0)
        for _ in range(250):
            batch = images[torch.randint(len(images), (128,), generator=generator)]
            optimizer.zero_grad()
            loss_of(model, batch).backward()
            optimizer.step()
        losses[name] = loss_of(model, images).item()
    assert losses["two_level_kfac"] < losses["kfac"] + 1.5


def test_batches_of_other_shapes_are_not_joined() -> None:
    """Sequences of another length."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 6)).double()
    optimizer = make("two_level_kfac", model, refresh_every=1, curvature_batch=1.0)
    for positions in (3, 3, 4):
        inputs = torch.rand(8, positions, 6, dtype=torch.float64)
        optimizer.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(model(inputs), inputs, reduction="sum").div(8).backward()
        optimizer.step()
        taken = optimizer._batch["0"]
        assert taken.positions == positions
    assert len(taken) == 8
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_a_state_without_the_last_batches_is_refused() -> None:
    optimizer, _, _ = prepared()
    state = optimizer.state_dict()
    state["natural_gradient"]["coarse"]["batch"] = state["natural_gradient"]["coarse"].pop("window")
    with pytest.raises(ValueError, match="of an earlier version"):
        optimizer.load_state_dict(state)
