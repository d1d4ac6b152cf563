"""The exact natural gradient, the whole network's Fisher matrix and the spectra against dense linear algebra."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from kfsvd import (
    KroneckerSum,
    LayerSamples,
    SampledFisher,
    capture,
    direction_efficiency,
    fit,
    natural_gradient,
    network_error,
    relative_error,
    spectrum_error,
)
from kfsvd.curvature.sampled import fisher_spectrum
from kfsvd.linalg.leading_eigenvalues import leading_eigenvalues
from tests.kfsvd import oracle
from tests.kfsvd.conftest import make_samples, with_positions

SAMPLES = {
    "one position": lambda: make_samples(9, 4, 3),
    "positions": lambda: with_positions(7, 5, 4, 3),
    "many positions": lambda: with_positions(7, 20, 3, 2),
    "weighted": lambda: LayerSamples(
        make_samples(6, 4, 3).activations, make_samples(6, 4, 3).gradients, torch.linspace(0.1, 1, 6).double()
    ),
}


WEIGHTS = {"equal": None, "weighted": torch.linspace(0.1, 1, 8).double()}


def network(weights: torch.Tensor | None = None) -> tuple[dict[str, LayerSamples], oracle.Array]:
    """Two layers' samples of the same examples, and their joint Fisher matrix with its off-diagonal blocks."""
    plain = {"first": make_samples(8, 4, 3, seed=1), "second": make_samples(8, 3, 2, seed=2)}
    layers = {name: LayerSamples(s.activations, s.gradients, weights) for name, s in plain.items()}
    rows = []
    for n in range(8):
        parts = [np.outer(s.gradients[n].numpy(), s.activations[n].numpy()).flatten(order="F") for s in layers.values()]
        rows.append(np.concatenate(parts))
    jacobian = np.stack(rows)
    return layers, jacobian.T * layers["first"].normalised_weights.numpy() @ jacobian


def stacked(matrices: dict[str, torch.Tensor]) -> oracle.Array:
    return np.concatenate([m.numpy().flatten(order="F") for m in matrices.values()])


def gradients_of(layers: dict[str, LayerSamples], seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(*s.shape, generator=generator, dtype=torch.float64) for name, s in layers.items()}


@pytest.mark.parametrize("name", SAMPLES)
def test_products_with_the_samples_are_those_of_the_dense_matrix(name: str) -> None:
    samples = SAMPLES[name]()
    d_out, d_in = samples.shape
    dense, fisher = oracle.fisher(samples), SampledFisher(samples)
    gradient = gradients_of({"": samples})[""]
    flat = gradient.numpy().flatten(order="F")
    assert oracle.relative(samples.dense().numpy(), dense) < 1e-14
    assert oracle.relative(fisher.apply(gradient).numpy().flatten(order="F"), dense @ flat) < 1e-13
    assert float(fisher.norm()) == pytest.approx(np.linalg.norm(dense), rel=1e-12)
    other = make_samples(5, d_in, d_out, seed=3)
    assert float(fisher.fisher_inner(other)) == pytest.approx((dense * oracle.fisher(other)).sum(), rel=1e-12)
    assert float(fisher.fisher_inner(samples)) == pytest.approx(np.linalg.norm(dense) ** 2, rel=1e-12)
    z = oracle.rearranged(dense, d_in, d_out)
    outer, inner = torch.randn(d_out, d_out).double(), torch.randn(d_in, d_in).double()
    image = (z @ outer.numpy().flatten()).reshape(d_in, d_in)
    assert oracle.relative(samples.rearranged_product(outer).numpy(), image) < 1e-13
    image = (z.T @ inner.numpy().flatten()).reshape(d_out, d_out)
    assert oracle.relative(samples.rearranged_product_transposed(inner).numpy(), image) < 1e-13
    values = np.linalg.eigvalsh(dense)[::-1]
    spectrum = fisher_spectrum([samples]).numpy()[: len(dense)]
    np.testing.assert_allclose(spectrum, values[: len(spectrum)], atol=1e-13 * values[0])
    step = np.linalg.solve(dense + 0.1 * np.eye(len(dense)), flat)
    assert oracle.relative(fisher.solve(gradient, damping=0.1).numpy().flatten(order="F"), step) < 1e-11


@pytest.mark.parametrize("damping", [1e-4, 1e-2, 1.0])
@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
def test_the_natural_gradient_of_a_network_is_the_dense_solve(damping: float, weights: torch.Tensor | None) -> None:
    layers, dense = network(weights)
    gradients = gradients_of(layers)
    expected = np.linalg.solve(dense + damping * np.eye(len(dense)), stacked(gradients))
    assert oracle.relative(stacked(natural_gradient(layers, gradients, damping)), expected) < 1e-10


@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
def test_the_network_error_counts_the_off_diagonal_blocks(weights: torch.Tensor | None) -> None:
    layers, dense = network(weights)
    approximations = {name: fit("lanczos", s) for name, s in layers.items()}
    approximated = np.zeros_like(dense)
    approximated[:12, :12] = approximations["first"].dense().numpy()
    approximated[12:, 12:] = approximations["second"].dense().numpy()
    assert network_error(layers, approximations) == pytest.approx(oracle.relative(approximated, dense), rel=1e-10)
    blocks = {name: SampledFisher(s) for name, s in layers.items()}
    off_diagonal = np.linalg.norm(dense[:12, 12:]) * np.sqrt(2) / np.linalg.norm(dense)
    assert network_error(layers, blocks) == pytest.approx(off_diagonal, rel=1e-10)


@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
def test_the_efficiency_of_a_direction_is_its_share_of_the_best_decrease(weights: torch.Tensor | None) -> None:
    layers, dense = network(weights)
    gradients, damped = gradients_of(layers), dense + 0.05 * np.eye(len(dense))
    g = stacked(gradients)
    best = g @ np.linalg.solve(damped, g)
    for seed in range(3):
        directions = gradients_of(layers, seed=seed + 1)
        d = stacked(directions)
        expected = (g @ d) ** 2 / (d @ damped @ d) / best
        assert direction_efficiency(layers, gradients, directions, 0.05) == pytest.approx(expected, rel=1e-9)
        assert 0 <= expected <= 1
    exact = natural_gradient(layers, gradients, 0.05)
    assert direction_efficiency(layers, gradients, exact, 0.05) == pytest.approx(1, rel=1e-10)
    scaled = {name: -3 * d for name, d in exact.items()}
    assert direction_efficiency(layers, gradients, scaled, 0.05) == pytest.approx(1, rel=1e-10)


@pytest.mark.parametrize("method", ["kfac", "kpsvd", "deflation", "kfac_corrected", "ekfac", "exact"])
@pytest.mark.parametrize("name", SAMPLES)
def test_the_spectrum_error_is_the_dense_one(method: str, name: str) -> None:
    samples = SAMPLES[name]()
    approximation = fit(method, samples)
    true, approximated = (np.sort(np.linalg.eigvalsh(m))[::-1] for m in (oracle.fisher(samples), approximation.dense()))
    expected = np.linalg.norm(true - approximated) / np.linalg.norm(true)
    assert spectrum_error(samples, approximation) == pytest.approx(expected, rel=1e-6, abs=2e-7)


def test_the_krylov_spectrum_is_the_dense_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rank-2 sum within the reduced range of its factors, and out of it."""
    monkeypatch.setattr("kfsvd.linalg.leading_eigenvalues._DENSE", 50)
    for m in (40, 7):
        samples = make_samples(m, 18, 15)
        approximation = fit("deflation", samples)
        true, approximated = (np.sort(np.linalg.eigvalsh(f))[::-1] for f in (samples.dense(), approximation.dense()))
        expected = np.linalg.norm(true - approximated) / np.linalg.norm(true)
        assert spectrum_error(samples, approximation) == pytest.approx(expected, rel=1e-6)
        np.testing.assert_allclose(approximation.leading_eigenvalues(7).numpy(), approximated[:7], rtol=1e-5)


@pytest.mark.parametrize("method", ["kfac", "deflation", "ekfac", "eva"])
def test_all_eigenvalues_are_there_zeros_included(method: str) -> None:
    """Of two samples: most directions are in the range of no factor."""
    approximation = fit(method, make_samples(2, 5, 4))
    expected = np.sort(np.linalg.eigvalsh(approximation.dense().numpy()))[::-1]
    found = approximation.leading_eigenvalues(21).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12 * expected[0])


def test_eigenvalues_of_an_operator_without_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kfsvd.linalg.leading_eigenvalues._DENSE", 50)
    diagonal = torch.linspace(-5, 4, 15 * 20, dtype=torch.float64).reshape(15, 20)
    values = leading_eigenvalues(lambda v: v * diagonal, (15, 20), 5, like=diagonal)
    torch.testing.assert_close(values, diagonal.flatten().flip(0)[:5], rtol=1e-5, atol=0)


def test_a_deep_linear_network_with_squared_error_is_kronecker_in_expectation() -> None:
    """KFAC is exact there: g does not depend on a, so that the error falls with the number of sampled labels."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 4)).double()
    inputs = torch.randn(300, 4, dtype=torch.float64)
    errors = []
    for labels in (1, 40):
        samples = capture(model, [inputs], "gaussian", torch.Generator().manual_seed(1), fisher_samples=labels)
        errors.append([relative_error(s, fit("kfac", s)) for s in samples.values()])
    exact = capture(model, [inputs], "gaussian", torch.Generator(), fisher="exact")
    for name, samples in exact.items():
        assert relative_error(samples, fit("kfac", samples)) < 1e-7, name
    assert all(many < one / 3 for one, many in zip(*errors, strict=True))


def test_layers_that_do_not_correspond_are_refused() -> None:
    layers = {"first": make_samples(8, 4, 3), "second": make_samples(7, 3, 2)}
    with pytest.raises(ValueError, match="the same examples with the same weights"):
        natural_gradient(layers, gradients_of(layers), 0.1)
    with pytest.raises(ValueError, match="must be of the same layers"):
        natural_gradient(layers, {"first": torch.ones(3, 4)}, 0.1)
    with pytest.raises(ValueError, match="must be of the same layers"):
        network_error(layers, {"first": fit("kfac", layers["first"])})
    with pytest.raises(ValueError, match="damping must be positive"):
        natural_gradient(layers, gradients_of(layers), 0.0)


def test_a_zero_gradient_has_no_efficiency() -> None:
    layers, _ = network()
    zeros = {name: torch.zeros(*s.shape).double() for name, s in layers.items()}
    with pytest.raises(ValueError, match="has no efficiency"):
        direction_efficiency(layers, zeros, gradients_of(layers), 0.1)


def test_a_form_without_factors_refuses_the_rules_for_them() -> None:
    samples = make_samples(5, 3, 2)
    for method in ("ekfac", "exact"):
        with pytest.raises(ValueError, match="'exact' alone; got 'factored_pi'"):
            fit(method, samples).inverse(0.1, rule="factored_pi")
    assert isinstance(fit("kfac", samples), KroneckerSum)
