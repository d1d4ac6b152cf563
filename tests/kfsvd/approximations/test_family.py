"""FOOF, TNT and Eva against their own definitions, by dense matrices on tiny layers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import kfsvd
from kfsvd import KroneckerSum, LayerSamples, fit
from kfsvd.approximations import approximation
from kfsvd.averaging import RunningCurvature
from kfsvd.curvature.rank_one import RankOne
from tests.kfsvd import oracle
from tests.kfsvd.conftest import make_samples, with_positions
from tests.kfsvd.optimizers.loops import INPUTS, equal, loss_of, make, network, train

SAMPLES = {"one position": make_samples(12, 5, 4), "positions": with_positions(6, 3, 5, 4)}


def per_example(samples: LayerSamples) -> np.ndarray:
    a, g = (x.numpy() for x in samples.by_position)
    return np.einsum("nto,nti->noi", g, a)


@pytest.mark.parametrize("kind", SAMPLES)
def test_foof_is_kfac_with_an_identity_on_the_output_side(kind: str) -> None:
    samples = SAMPLES[kind]
    ((a, _),) = fit("kfac", samples).terms
    assert torch.equal(fit("foof", samples).dense(), torch.kron(a, torch.eye(4).double()))
    v = torch.randn(4, 5, generator=torch.Generator().manual_seed(1)).double()
    expected = KroneckerSum(((a, torch.eye(4).double()),)).solve(v, damping=0.3)
    torch.testing.assert_close(fit("foof", samples).solve(v, damping=0.3), expected, rtol=1e-12, atol=1e-14)
    dense = v.numpy() @ np.linalg.inv(a.numpy() + 0.3 * np.eye(5))
    np.testing.assert_allclose(expected.numpy(), dense, rtol=1e-11, atol=1e-13)


def test_foof_solves_least_squares_by_one_step_per_output() -> None:
    """Benzing's reading: each neuron's update is the least-squares solution for its own error."""
    samples = make_samples(40, 5, 3)
    a, g = samples.activations, samples.gradients
    gradient = g.mT @ a / len(a)
    solved = torch.linalg.lstsq(a, g).solution.mT
    torch.testing.assert_close(fit("foof", samples).solve(gradient, damping=1e-14), solved, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("kind", SAMPLES)
def test_tnt_is_one_power_step_from_identities_on_a_batchs_gradient(kind: str) -> None:
    samples = SAMPLES[kind]
    whole = per_example(samples).sum(0) / np.sqrt(len(samples))
    vector = whole.flatten(order="F")
    z = oracle.rearranged(np.outer(vector, vector), 5, 4)
    phi, psi = (z @ np.eye(4).flatten()).reshape(5, 5), (z.T @ np.eye(5).flatten()).reshape(4, 4)
    assert oracle.relative(fit("tnt", samples).dense().numpy(), np.kron(phi, psi) / np.trace(phi)) < 1e-12


def test_tnt_averages_moments_and_tends_to_tkfac() -> None:
    """Over independent labels the gradients of batches have the Fisher matrix as their covariance."""
    generator = torch.Generator().manual_seed(0)
    activations = torch.randn(8, 4, generator=generator).double()
    running = RunningCurvature(approximation("tnt"), "factors", 0.999_999)
    phi, psi = torch.zeros(4, 4).double(), torch.zeros(3, 3).double()
    batches = 4000
    for _ in range(batches):
        samples = LayerSamples(activations, torch.randn(8, 3, generator=generator).double())
        running.refresh(samples)
        ((a, b),) = fit("tnt", samples).terms
        phi, psi = phi + a * a.trace() / batches, psi + b * b.trace() / batches
    assert running.curvature is not None
    moments = torch.kron(phi, psi) / phi.trace()
    torch.testing.assert_close(running.curvature.dense(), moments, rtol=1e-9, atol=1e-12)
    exact = torch.kron(activations.mT @ activations / 8, torch.eye(3).double())  # E[ggᵀ] = I
    assert oracle.relative(running.curvature.dense().numpy(), exact.numpy()) < 0.05


@pytest.mark.parametrize("kind", SAMPLES)
def test_eva_is_a_dense_rank_one_solve(kind: str) -> None:
    samples = SAMPLES[kind]
    a, g = (x.numpy() for x in samples.by_position)
    m_a, m_g = a.mean((0, 1)), g.sum(1).mean(0)
    dense = np.outer(np.kron(m_a, m_g), np.kron(m_a, m_g))
    curvature = fit("eva", samples)
    assert isinstance(curvature, RankOne)
    np.testing.assert_allclose(curvature.dense().numpy(), dense, rtol=1e-12, atol=1e-14)
    v = torch.randn(4, 5, generator=torch.Generator().manual_seed(1)).double()
    vec = v.numpy().flatten(order="F")
    expected = np.linalg.solve(dense + 0.03 * np.eye(20), vec).reshape(4, 5, order="F")
    np.testing.assert_allclose(curvature.solve(v, damping=0.03).numpy(), expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(curvature.apply(v).numpy().flatten(order="F"), dense @ vec, rtol=1e-11, atol=1e-13)
    assert float(curvature.norm()) == pytest.approx(np.linalg.norm(dense), rel=1e-12)
    eigenvalues = np.linalg.eigvalsh(dense)[::-1]
    np.testing.assert_allclose(curvature.leading_eigenvalues(3).numpy(), eigenvalues[:3], rtol=1e-12, atol=1e-14)
    inner = np.sum(oracle.fisher(samples) * dense)
    assert float(curvature.fisher_inner(samples)) == pytest.approx(inner, rel=1e-11)
    error = oracle.relative(dense, oracle.fisher(samples))
    assert kfsvd.relative_error(samples, curvature) == pytest.approx(error, rel=1e-10)


def test_eva_trains_by_the_published_formula_step_by_step() -> None:
    """Against the means of each batch taken by hand, momentum and KL clip included."""
    model, reference = network(), network()
    optimizer = make("eva", model)
    means: dict[int, list[torch.Tensor]] = {}
    momenta = [torch.zeros(5, 7).double(), torch.zeros(6, 6).double()]
    for step in range(5):
        train(model, optimizer, 1, start=step)
        batch = INPUTS[torch.randperm(24, generator=torch.Generator().manual_seed(step))[:12]]
        hidden = torch.tanh(reference[0](batch))
        scores = torch.sigmoid(reference[2](hidden)) - batch
        back = scores @ reference[2].weight * (1 - hidden.square())
        inputs = [torch.cat([x, torch.ones(12, 1).double()], 1).detach() for x in (batch, hidden)]
        steps, slopes = [], 0.0
        for index, (a, g) in enumerate(zip(inputs, (back.detach(), scores.detach()), strict=True)):
            new = [a.mean(0), g.mean(0)]
            means[index] = [0.95 * n + 0.05 * p for n, p in zip(new, means.get(index, new), strict=True)]
            m_a, m_g = means[index]
            gradient = g.mT @ a / 12
            share = (m_g @ gradient @ m_a) / (0.03 + m_a.square().sum() * m_g.square().sum())
            steps.append((gradient - share * torch.outer(m_g, m_a)) / 0.03)
            slopes += float((gradient * steps[-1]).sum())
        clip = min(1.0, (1e-3 / (0.1**2 * abs(slopes))) ** 0.5)  # κ = 1e-3 with lr² inside
        with torch.no_grad():
            for layer, momentum, delta in zip((reference[0], reference[2]), momenta, steps, strict=True):
                momentum.mul_(0.9).add_(clip * delta)
                layer.weight -= 0.1 * momentum[:, :-1]
                layer.bias -= 0.1 * momentum[:, -1]
    for p, q in zip(model.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-9, atol=1e-11)


def test_eva_keeps_vectors_alone() -> None:
    model = network()
    optimizer = make("eva", model)
    train(model, optimizer, 2)
    assert all(t.ndim == 1 for c in optimizer.approximations().values() for t in c.tensors().values())
    before = loss_of(model, INPUTS).item()
    train(model, optimizer, 20, start=2)
    assert loss_of(model, INPUTS).item() < before
    assert not equal(model, network())
