"""Every approximation against the dense oracle, in the guaranteed order, and on hostile samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kfsvd import APPROXIMATIONS, KroneckerSum, LayerSamples, best_relative_error, fit, relative_error
from tests.kfsvd import oracle
from tests.kfsvd.conftest import HOSTILE, KRONECKER, make_samples, with_positions

SIZES = [(1, 3, 2), (2, 4, 3), (7, 5, 4), (40, 6, 5), (9, 2, 7)]
RANKS = {"kfac": 1, "kpsvd": 1, "tkfac": 1, "foof": 1, "tnt": 1, "deflation": 2, "lanczos": 2, "kfac_corrected": 2}


POSITIONS = pytest.mark.parametrize("positions", [1, 3])
WEIGHTS = pytest.mark.parametrize("weights", [None, torch.linspace(0.1, 2.0, 12).double()], ids=["equal", "weighted"])


def sampled(positions: int, weights: torch.Tensor | None) -> LayerSamples:
    """Of twelve examples and a layer 4×5."""
    plain = make_samples(12, 5, 4) if positions == 1 else with_positions(12, positions, 5, 4)
    return LayerSamples(plain.activations, plain.gradients, weights)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("seed", [0, 1])
def test_kfac_is_the_product_of_the_two_moments(size: tuple[int, int, int], seed: int) -> None:
    samples = make_samples(*size, seed=seed)
    ((a, b),) = fit("kfac", samples).terms
    x, y = samples.activations.numpy(), samples.gradients.numpy()
    assert oracle.relative(a.numpy(), x.T @ x / len(x)) < 1e-14
    assert oracle.relative(b.numpy(), y.T @ y / len(y)) < 1e-14


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("method", "rank"), [("kpsvd", 1), ("deflation", 2), ("lanczos", 2)])
def test_the_svd_methods_are_the_truncated_svd_of_the_rearranged_fisher(
    method: str, rank: int, size: tuple[int, int, int], seed: int
) -> None:
    m, d_in, d_out = size
    samples = make_samples(m, d_in, d_out, seed=seed)
    expected = oracle.best_terms(oracle.fisher(samples), d_in, d_out, rank)
    assert oracle.relative(fit(method, samples).dense().numpy(), expected) < 1e-10


@pytest.mark.parametrize("size", SIZES[1:])
def test_kfac_corrected_adds_the_best_term_for_what_kfac_leaves(size: tuple[int, int, int]) -> None:
    m, d_in, d_out = size
    samples = make_samples(m, d_in, d_out)
    kfac = fit("kfac", samples).dense().numpy()
    expected = kfac + oracle.best_terms(oracle.fisher(samples) - kfac, d_in, d_out, 1)
    assert oracle.relative(fit("kfac_corrected", samples).dense().numpy(), expected) < 1e-10


def test_kfac_divides_the_gradients_moment_by_the_number_of_positions() -> None:
    samples = with_positions(6, 3, 5, 4)
    x, y = samples.activations.numpy(), samples.gradients.numpy()
    a, g = (sum(rows.T @ rows for rows in side) / 6 for side in (x, y))
    assert oracle.relative(fit("kfac", samples).dense().numpy(), np.kron(a, g / 3)) < 1e-13


@POSITIONS
@WEIGHTS
def test_tkfac_is_one_power_step_from_identities_and_keeps_the_trace(
    positions: int, weights: torch.Tensor | None
) -> None:
    samples = sampled(positions, weights)
    dense = oracle.fisher(samples)
    z = oracle.rearranged(dense, 5, 4)
    phi = (z @ np.eye(4).flatten()).reshape(5, 5)
    psi = (z.T @ np.eye(5).flatten()).reshape(4, 4)
    actual = fit("tkfac", samples).dense().numpy()
    assert oracle.relative(actual, np.kron(phi, psi) / np.trace(dense)) < 1e-12
    assert np.trace(actual) == pytest.approx(np.trace(dense), rel=1e-12)


@POSITIONS
@WEIGHTS
@pytest.mark.parametrize("basis", ["kfac", "kpsvd"])
def test_ekfac_has_the_diagonal_of_the_fisher_in_its_basis(
    basis: str, positions: int, weights: torch.Tensor | None
) -> None:
    samples = sampled(positions, weights)
    found = fit("ekfac", samples, basis=basis)
    turn = np.kron(found.basis_in.numpy(), found.basis_out.numpy())
    diagonal = np.diag(turn.T @ oracle.fisher(samples) @ turn)
    assert oracle.relative(found.scales.numpy().flatten(order="F"), diagonal) < 1e-12
    ((a, b),) = fit(basis, samples).terms
    rotated = turn.T @ np.kron(a.numpy(), b.numpy()) @ turn
    assert oracle.relative(rotated, np.diag(np.diag(rotated))) < 1e-12


def test_weighted_samples_fit_the_weighted_fisher() -> None:
    plain = make_samples(8, 4, 3)
    weights = torch.linspace(0.1, 2.0, 8, dtype=torch.float64)
    samples = LayerSamples(plain.activations, plain.gradients, weights)
    dense = oracle.fisher(samples)
    assert oracle.relative(fit("lanczos", samples).dense().numpy(), oracle.best_terms(dense, 4, 3, 2)) < 1e-10
    x, y, w = plain.activations.numpy(), plain.gradients.numpy(), weights.numpy()
    kfac = np.kron((x.T * w) @ x, (y.T * w) @ y) / w.sum()
    assert oracle.relative(fit("kfac", samples).dense().numpy(), kfac) < 1e-13
    corrected = kfac + oracle.best_terms(dense - kfac, 4, 3, 1)
    assert oracle.relative(fit("kfac_corrected", samples).dense().numpy(), corrected) < 1e-10


def test_the_input_factor_of_kfac_is_a_mean_whatever_the_weights_add_up_to() -> None:
    plain = make_samples(8, 4, 3)
    a, b = fit("kfac", plain).terms[0]
    threefold = LayerSamples(plain.activations, plain.gradients, torch.full((8,), 3 / 8, dtype=torch.float64))
    torch.testing.assert_close(fit("kfac", threefold).terms[0], (a, 3 * b), rtol=1e-14, atol=0)


@pytest.mark.parametrize("method", APPROXIMATIONS)
def test_float32_agrees_with_float64(method: str) -> None:
    samples = make_samples(30, 8, 6)
    single = LayerSamples(samples.activations.float(), samples.gradients.float())
    approximation = fit(method, single)
    assert all(tensor.dtype == torch.float32 for name, tensor in approximation.tensors().items() if name != "weights")
    assert oracle.relative(approximation.dense().double().numpy(), fit(method, samples).dense().numpy()) < 1e-4


@example(m=4, d_in=4, d_out=1, seed=2048, copies=1, sparsity=0.5)  # a second singular value of mere rounding
@given(
    m=st.integers(1, 12),
    d_in=st.integers(1, 5),
    d_out=st.integers(1, 5),
    seed=st.integers(0, 10_000),
    copies=st.integers(1, 3),
    sparsity=st.floats(0, 0.8),
)
@settings(max_examples=50)
def test_the_guaranteed_order_of_errors(m: int, d_in: int, d_out: int, seed: int, copies: int, sparsity: float) -> None:
    """Deflation = Lanczos = optimum(2) ≤ {KPSVD = optimum(1), KFAC-corrected} ≤ KFAC on the fitted batch."""
    plain = make_samples(m, d_in, d_out, seed=seed)
    keep = torch.rand(m, d_out, generator=torch.Generator().manual_seed(seed)) >= sparsity
    keep[0, 0] = True
    samples = LayerSamples(plain.activations.repeat(copies, 1), (plain.gradients * keep).repeat(copies, 1))
    error = {method: relative_error(samples, fit(method, samples)) for method in APPROXIMATIONS}
    slack = 1e-7  # an error of zero is measured as up to 1e-8: the square root of the rounding of ‖F‖²
    assert error["deflation"] == pytest.approx(error["lanczos"], abs=slack)
    assert error["deflation"] == pytest.approx(best_relative_error(samples, rank=2), abs=slack)
    assert error["kpsvd"] == pytest.approx(best_relative_error(samples, rank=1), abs=slack)
    assert error["deflation"] <= min(error["kpsvd"], error["kfac_corrected"]) + slack
    assert max(error["kpsvd"], error["kfac_corrected"]) <= error["kfac"] + slack
    assert error["kpsvd"] <= error["tkfac"] + slack
    assert error["exact"] <= error["ekfac"] + slack
    assert error["ekfac"] <= error["kfac"] + slack
    in_kpsvd_basis = relative_error(samples, fit("ekfac", samples, basis="kpsvd"))
    assert in_kpsvd_basis <= error["kpsvd"] + slack


@pytest.mark.parametrize("method", KRONECKER)
def test_hostile_samples_give_a_finite_positive_leading_term(method: str) -> None:
    for case, make in HOSTILE.items():
        hostile = make()
        approximation = fit(method, hostile)
        assert isinstance(approximation, KroneckerSum)
        assert approximation.rank == RANKS[method], case
        for a, b in approximation.terms:
            assert torch.isfinite(a).all(), case
            assert torch.isfinite(b).all(), case
            assert torch.equal(a, a.mT), case
            assert torch.equal(b, b.mT), case
        for factor in approximation.terms[0]:
            values = torch.linalg.eigvalsh(factor)
            assert values.min() >= -1e-12 * values.abs().max(), case


@pytest.mark.parametrize("method", ["kpsvd", "deflation", "lanczos"])
def test_hostile_samples_are_still_approximated_optimally(method: str) -> None:
    for case, make in HOSTILE.items():
        hostile = make()
        if not hostile.gradients.any():
            assert not fit(method, hostile).dense().any(), case
            continue
        best = best_relative_error(hostile, rank=RANKS[method])
        assert relative_error(hostile, fit(method, hostile)) == pytest.approx(best, abs=1e-7), case


@pytest.mark.parametrize("method", [name for name in APPROXIMATIONS if name != "foof"])
def test_one_example_is_exact(method: str) -> None:
    one = make_samples(1, 4, 3)
    assert oracle.relative(fit(method, one).dense().numpy(), oracle.fisher(one)) < 1e-12


@pytest.mark.parametrize("method", [name for name in APPROXIMATIONS if name not in ("foof", "tnt", "eva")])
def test_equal_inputs_are_exact(method: str) -> None:
    many = make_samples(20, 4, 3)
    equal = LayerSamples(many.activations[:1].expand(20, -1), many.gradients)
    assert oracle.relative(fit(method, equal).dense().numpy(), oracle.fisher(equal)) < 1e-12


def test_an_unknown_method_is_named() -> None:
    with pytest.raises(ValueError, match=r"method must be one of kfac, kpsvd.*got 'kpsdv'"):
        fit("kpsdv", make_samples(2, 2, 2))
