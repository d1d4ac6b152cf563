"""The three averages over refreshes against their definitions."""

from __future__ import annotations

import pytest
import torch

from kfsvd import APPROXIMATIONS, KroneckerEigenbasis, KroneckerSum, LayerSamples, fit, relative_error
from kfsvd.approximations import approximation
from kfsvd.averaging import WINDOW, RunningCurvature
from kfsvd.network.samples import merged
from tests.kfsvd import oracle
from tests.kfsvd.conftest import make_samples, with_positions

PAIRS = ["kpsvd", "deflation", "lanczos", "kfac_corrected"]


def running(name: str, averaging: str, decay: float = 0.9, **options: object) -> RunningCurvature:
    return RunningCurvature(approximation(name, **options), averaging, decay)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", APPROXIMATIONS)
def test_the_first_refresh_is_the_fit_itself(name: str) -> None:
    for averaging in approximation(name).averagings:
        average, samples = running(name, averaging), make_samples(9, 4, 3)
        average.refresh(samples)
        assert average.curvature is not None
        assert torch.equal(average.curvature.dense(), fit(name, samples).dense())


@pytest.mark.parametrize("name", PAIRS)
def test_stream_on_one_and_the_same_fisher_converges_to_its_singular_pairs(name: str) -> None:
    """It is power iteration with memory; started elsewhere, it ends at the optimum."""
    average, samples = running(name, "stream", decay=0.5), make_samples(30, 5, 4)
    average.refresh(make_samples(30, 5, 4, seed=1))
    for _ in range(200):
        average.refresh(samples)
    assert average.curvature is not None
    best = fit(name, samples)
    assert relative_error(samples, average.curvature) == pytest.approx(relative_error(samples, best), rel=1e-6)
    assert oracle.relative(average.curvature.dense().numpy(), best.dense().numpy()) < 1e-3


@pytest.mark.parametrize("name", ["kpsvd", "deflation"])
@pytest.mark.parametrize("shape", ["one position", "positions"])
def test_stream_is_one_warm_power_step_folded_in(name: str, shape: str) -> None:
    old, new = make_samples(9, 4, 3), make_samples(8, 4, 3, seed=5)
    if shape == "positions":
        new = with_positions(6, 4, 4, 3)
    average = running(name, "stream", decay=0.7)
    average.refresh(old)
    average.refresh(old)
    past = average.curvature
    assert isinstance(past, KroneckerSum)
    average.refresh(new)
    rho = min(1 - 1 / 3, 0.7)
    dense = oracle.fisher(new)
    terms: list[tuple[torch.Tensor, torch.Tensor]] = []
    for left, right in past.terms:
        z = torch.from_numpy(oracle.rearranged(dense - sum(torch.kron(a, b).numpy() for a, b in terms), 4, 3))
        new_left = rho * left + (1 - rho) * (z @ right.flatten()).reshape(4, 4) / right.square().sum()
        new_right = rho * right + (1 - rho) * (z.mT @ new_left.flatten()).reshape(3, 3) / new_left.square().sum()
        terms.append((new_left, new_right))
    expected = sum(torch.kron(a, b) for a, b in terms)
    assert isinstance(average.curvature, KroneckerSum)
    torch.testing.assert_close(average.curvature.dense(), expected, rtol=1e-10, atol=1e-13)
    for a, b in average.curvature.terms:
        assert float(a.norm()) == pytest.approx(float(b.norm()), rel=1e-12)


@pytest.mark.parametrize("name", [n for n in APPROXIMATIONS if n != "exact"])
def test_samples_is_the_fit_of_the_averaged_fisher(name: str) -> None:
    parts = [make_samples(9, 4, 3, seed=seed) for seed in range(3)]
    average = running(name, "samples", decay=0.5)
    for part in parts:
        average.refresh(part)
    weights = [0.25 / 1.75, 0.5 / 1.75, 1 / 1.75]
    assert average.curvature is not None
    expected = fit(name, merged(parts, weights))
    torch.testing.assert_close(average.curvature.dense(), expected.dense(), rtol=1e-10, atol=1e-13)
    mean = sum(w * torch.from_numpy(oracle.fisher(part)) for w, part in zip(weights, parts, strict=True))
    assert oracle.relative(merged(parts, weights).dense().numpy(), mean.numpy()) < 1e-13


def test_the_window_of_samples_is_bounded() -> None:
    average = running("kfac", "samples")
    for seed in range(5):
        average.refresh(make_samples(WINDOW // 3 + 1, 2, 2, seed=seed))
    assert len(average.state()["window"]) == 2
    average.refresh(make_samples(2 * WINDOW, 2, 2))
    assert len(average.state()["window"]) == 1, "at least the newest batch"


@pytest.mark.parametrize("basis", ["kfac", "kpsvd"])
def test_ekfac_keeps_the_exact_diagonal_of_the_averaged_fisher(basis: str) -> None:
    average = running("ekfac", "factors", decay=0.3, basis=basis)
    old, new = make_samples(9, 4, 3), make_samples(8, 4, 3, seed=5)
    average.refresh(old)
    first = average.curvature
    assert isinstance(first, KroneckerEigenbasis)
    average.refresh(new)
    second = average.curvature
    assert isinstance(second, KroneckerEigenbasis)
    product = fit(basis, old).average(fit(basis, new), 0.3)
    assert isinstance(product, KroneckerSum)
    rotation = torch.kron(second.basis_in, second.basis_out)
    for vector, matrix in ((second.basis_in, product.terms[0][0]), (second.basis_out, product.terms[0][1])):
        rotated = vector.mT @ matrix @ vector
        torch.testing.assert_close(rotated, torch.diag(rotated.diagonal()), rtol=0, atol=1e-12)
    averaged = 0.3 * first.dense() + 0.7 * torch.from_numpy(oracle.fisher(new))
    diagonal = (rotation.mT @ averaged @ rotation).diagonal()
    torch.testing.assert_close(second.scales.mT.flatten(), diagonal, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", APPROXIMATIONS)
def test_what_is_not_finite_never_enters_an_average(name: str) -> None:
    average, good = running(name, approximation(name).averagings[0]), make_samples(9, 4, 3)
    average.refresh(good)
    before = average.curvature
    bad = LayerSamples(good.activations.clone().fill_(float("nan")), good.gradients)
    with pytest.raises(FloatingPointError, match="curvature of a layer is not finite"):
        average.refresh(bad)
    assert average.curvature is before
    assert average.refreshes == 1


@pytest.mark.parametrize(
    ("name", "averaging", "message"),
    [
        ("kfac", "mean", "averaging must be one of factors, stream, samples; got 'mean'"),
        ("kfac", "stream", "kfac takes averaging factors or samples; got 'stream'"),
        ("exact", "factors", "exact takes averaging samples; got 'factors'"),
    ],
)
def test_averagings_that_do_not_fit_are_named(name: str, averaging: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        running(name, averaging)
