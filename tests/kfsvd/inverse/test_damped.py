"""Where float32 linear algebra fails: rank-deficient factors, subnormal numbers, silent NaN."""

from __future__ import annotations

import pytest
import torch

from kfsvd import LayerSamples, fit
from kfsvd.inverse.damped import SpectralInverse
from kfsvd.linalg.eigh import symmetric_eigh
from tests.kfsvd.conftest import make_samples


def rank_deficient() -> LayerSamples:
    """Half of the inputs and outputs nearly dead: moments down to 1e-40 in float32."""
    samples = make_samples(12, 60, 50, dtype=torch.float32)
    scale_in, scale_out = torch.ones(60), torch.ones(50)
    scale_in[:30], scale_out[:25] = 1e-20, 1e-19
    return LayerSamples(samples.activations * scale_in, samples.gradients * scale_out)


@pytest.mark.parametrize("method", ["deflation", "lanczos", "kfac_corrected"])
def test_prepared_inverses_hold_no_subnormal_number(method: str) -> None:
    """Subnormal entries made a step five times slower, and LAPACK's float32 eigh return NaN without an error."""
    inverse = fit(method, rank_deficient()).inverse(1e-3, rule="factored_pi")
    assert isinstance(inverse, SpectralInverse)
    for basis in (inverse.basis_a, inverse.basis_b):
        sizes = basis[basis != 0].abs()
        assert sizes.min() > 1e-30
        assert torch.isfinite(basis).all()


def test_eigenvectors_hold_no_number_far_below_rounding() -> None:
    """Of a moment whose rows fall by 25 orders of magnitude; their products would be subnormal."""
    rows = torch.randn(60, 60, generator=torch.Generator().manual_seed(0)) * torch.logspace(0, -25, 60)[:, None]
    vectors = symmetric_eigh(rows @ rows.mT)[1]
    assert vectors[vectors != 0].abs().min() > 1e-18 * vectors.abs().max()
    torch.testing.assert_close(vectors.mT @ vectors, torch.eye(60), rtol=0, atol=1e-5)


@pytest.mark.parametrize("failure", ["nan", "error"])
def test_a_failed_float32_decomposition_is_done_again_in_float64(failure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    approximation = fit("lanczos", make_samples(12, 6, 5, dtype=torch.float32))
    gradient = torch.ones(5, 6)
    expected = approximation.solve(gradient, damping=0.1, rule="factored")
    eigh = torch.linalg.eigh

    def failing(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if matrix.dtype == torch.float64:
            return eigh(matrix)
        if failure == "error":
            raise RuntimeError("the algorithm failed to converge")
        return matrix.new_full(matrix.shape[:1], float("nan")), torch.full_like(matrix, float("nan"))

    monkeypatch.setattr(torch.linalg, "eigh", failing)
    torch.testing.assert_close(approximation.solve(gradient, damping=0.1, rule="factored"), expected)


@pytest.mark.parametrize(
    ("method", "options", "rule", "fitting", "inverting"),
    [
        ("kfac", {}, "factored_pi", 0, 0),
        ("kfac", {}, "factored", 0, 0),
        ("kpsvd", {}, "factored_pi", 0, 0),
        ("kpsvd", {}, "factored", 0, 0),
        ("tkfac", {}, "factored_pi", 0, 0),
        ("tkfac", {}, "factored", 0, 0),
        ("deflation", {}, "factored_pi", 0, 2),
        ("lanczos", {}, "factored_pi", 0, 2),
        ("kfac_corrected", {}, "factored_pi", 0, 2),
        ("ekfac", {}, "exact", 2, 0),
        ("ekfac", {"basis": "kpsvd"}, "exact", 2, 0),
        ("exact", {}, "exact", 0, 0),
    ],
)
def test_no_width_is_decomposed_where_a_cholesky_factor_does(
    method: str, options: dict[str, str], rule: str, fitting: int, inverting: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eigendecompositions of a layer's width in a refresh, one a side at most; those of m samples are not counted."""
    samples, widths = make_samples(7, 60, 50, dtype=torch.float32), []
    eigh, svd = torch.linalg.eigh, torch.linalg.svd
    monkeypatch.setattr(torch.linalg, "eigh", lambda matrix: (widths.append(len(matrix)), eigh(matrix))[1])
    monkeypatch.setattr(torch.linalg, "svd", lambda matrix: (widths.append(len(matrix)), svd(matrix))[1])
    approximation = fit(method, samples, **options)
    sides = [width for width in widths if width in samples.shape]
    assert sorted(sides) == ([50, 60] if fitting else [])
    widths.clear()
    approximation.inverse(0.1, rule=rule)
    assert sorted(widths) == ([50, 60] if inverting else [])
