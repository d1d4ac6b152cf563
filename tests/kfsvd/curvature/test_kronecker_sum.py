"""Kronecker sums and their damped inverses against dense linear algebra."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kfsvd import IndefiniteError, KroneckerSum, fit
from tests.kfsvd import oracle
from tests.kfsvd.conftest import HOSTILE, KRONECKER, WITH_RULE, make_samples


def dense_solve(matrix: np.ndarray, gradient: torch.Tensor) -> np.ndarray:
    solution = np.linalg.solve(matrix, gradient.numpy().flatten(order="F"))
    return solution.reshape(gradient.shape, order="F")


def gradient_of(d_in: int, d_out: int) -> torch.Tensor:
    return torch.randn(d_out, d_in, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


@pytest.mark.parametrize("method", KRONECKER)
def test_apply_inner_and_norm_are_the_dense_ones(method: str) -> None:
    approximation, other = fit(method, make_samples(20, 5, 4)), fit("lanczos", make_samples(20, 5, 4, seed=1))
    gradient = gradient_of(5, 4)
    image = approximation.dense().numpy() @ gradient.numpy().flatten(order="F")
    assert oracle.relative(approximation.apply(gradient).numpy(), image.reshape(4, 5, order="F")) < 1e-13
    assert float(approximation.norm()) == pytest.approx(np.linalg.norm(approximation.dense().numpy()), rel=1e-12)
    expected = (approximation.dense() * other.dense()).sum()
    assert float(approximation.inner(other)) == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_second_term_is_averaged_with_the_sign_of_its_past(sign: int) -> None:
    """A⊗B and (−A)⊗(−B) are one product; the first term is positive, and taken as it is."""
    past = fit("deflation", make_samples(20, 5, 4))
    (a, b), (p, q) = (tuple(torch.linspace(1, 2, len(f)).double() * f for f in term) for term in past.terms)
    average = past.average(KroneckerSum(((a, b), (sign * p, sign * q))), 0.3)
    for term, old, new in zip(average.terms, past.terms, ((a, b), (p, q)), strict=True):
        for factor, was, now in zip(term, old, new, strict=True):
            torch.testing.assert_close(factor, 0.3 * was + 0.7 * now)


@pytest.mark.parametrize("method", ["kfac", "kpsvd", "tkfac", "ekfac", "exact"])
@pytest.mark.parametrize("damping", [1e-3, 0.1, 10.0])
def test_rank_one_exact_solve(method: str, damping: float) -> None:
    approximation, gradient = fit(method, make_samples(20, 5, 4)), gradient_of(5, 4)
    expected = dense_solve(approximation.dense().numpy() + damping * np.eye(20), gradient)
    assert oracle.relative(approximation.solve(gradient, damping=damping).numpy(), expected) < 1e-10


@pytest.mark.parametrize("method", ["deflation", "lanczos", "kfac_corrected"])
@pytest.mark.parametrize(("d_in", "d_out"), [(5, 4), (15, 12)], ids=["dense", "conjugate-gradients"])
def test_rank_two_exact_solve(method: str, d_in: int, d_out: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kfsvd.inverse.damped.DENSE_LIMIT", 100)
    approximation, gradient = fit(method, make_samples(40, d_in, d_out)), gradient_of(d_in, d_out)
    dense = approximation.dense().numpy()
    damping = 2 * max(1e-2, -np.linalg.eigvalsh(dense)[0])  # positive definite, and not by much
    expected = dense_solve(dense + damping * np.eye(d_in * d_out), gradient)
    assert oracle.relative(approximation.solve(gradient, damping=damping).numpy(), expected) < 1e-10


@pytest.mark.parametrize("method", KRONECKER)
@pytest.mark.parametrize("rule", ["factored", "factored_pi"])
def test_factored_solve_damps_the_first_term(method: str, rule: str) -> None:
    approximation, gradient = fit(method, make_samples(20, 5, 4)), gradient_of(5, 4)
    (a, b), *rest = [(a.numpy(), b.numpy()) for a, b in approximation.terms]
    damping = 0.5
    pi = np.sqrt((np.trace(a) / 5) / (np.trace(b) / 4)) if rule == "factored_pi" else 1.0
    dense = np.kron(a + pi * np.sqrt(damping) * np.eye(5), b + np.sqrt(damping) / pi * np.eye(4))
    dense = dense + sum(np.kron(c, d) for c, d in rest)
    relative_spectrum = np.linalg.eigvals(np.linalg.solve(dense - sum(np.kron(c, d) for c, d in rest), dense)).real
    assert relative_spectrum.min() > 0.1, "the guard must stay idle in this test"
    actual = approximation.solve(gradient, damping=damping, rule=rule)
    assert oracle.relative(actual.numpy(), dense_solve(dense, gradient)) < 1e-10


INDEFINITE = KroneckerSum(
    (
        (torch.eye(3).double(), torch.eye(2).double()),
        (torch.diag(torch.tensor([4.0, -4.0, 1.0])).double(), torch.diag(torch.tensor([1.0, -1.0])).double()),
    )
)


@pytest.mark.parametrize("rule", ["factored", "factored_pi", "exact"])
@pytest.mark.parametrize("guard", ["floor", "absolute"])
def test_the_guard_turns_an_indefinite_sum_into_a_descent_direction(rule: str, guard: str) -> None:
    for seed in range(20):
        gradient = torch.randn(2, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        direction = INDEFINITE.solve(gradient, damping=1e-3, rule=rule, guard=guard)
        assert torch.isfinite(direction).all()
        assert (direction * gradient).sum() > 0


@pytest.mark.parametrize("rule", ["factored", "factored_pi", "exact"])
def test_the_guard_can_refuse(rule: str) -> None:
    with pytest.raises(IndefiniteError, match="not positive definite"):
        INDEFINITE.solve(torch.ones(2, 3).double(), damping=1e-3, rule=rule, guard="raise")


def test_the_floor_is_a_tenth_of_the_damped_first_term_and_absolute_adds_what_the_second_takes_away() -> None:
    lam = 1e-12
    gradient = torch.zeros(2, 3).double()
    gradient[0, 1] = 1.0  # s = −4, t = 1: denominator −3 becomes 0.1, or 5
    direction = INDEFINITE.solve(gradient, damping=lam, rule="factored")
    assert float(direction[0, 1]) == pytest.approx(10, rel=1e-5)
    direction = INDEFINITE.solve(gradient, damping=lam, rule="factored", guard="absolute")
    assert float(direction[0, 1]) == pytest.approx(1 / 5, rel=1e-5)


@pytest.mark.parametrize(("method", "rule"), WITH_RULE)
def test_hostile_samples_still_give_a_finite_descent_direction(method: str, rule: str) -> None:
    for case, make in HOSTILE.items():
        hostile = make()
        d_in, d_out = hostile.activations.shape[1], hostile.gradients.shape[1]
        gradient = gradient_of(d_in, d_out)
        direction = fit(method, hostile).solve(gradient, damping=1e-3, rule=rule)
        assert torch.isfinite(direction).all(), case
        assert (direction * gradient).sum() > 0, case


@pytest.mark.parametrize(("method", "rule"), WITH_RULE)
def test_strong_damping_gives_the_gradient_direction(method: str, rule: str) -> None:
    gradient = gradient_of(5, 4)
    direction = fit(method, make_samples(20, 5, 4)).solve(gradient, damping=1e12, rule=rule)
    assert oracle.relative(1e12 * direction.numpy(), gradient.numpy()) < 1e-4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"damping": 0.0}, "damping must be positive and finite; got 0.0"),
        ({"damping": float("nan")}, "damping must be positive and finite; got nan"),
        ({"damping": 1.0, "rule": "exakt"}, "damping_rule must be one of .*; got 'exakt'"),
        ({"damping": 1.0, "guard": "none"}, "guard must be one of .*; got 'none'"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        INDEFINITE.solve(torch.ones(2, 3).double(), **arguments)  # type: ignore[arg-type]


def test_a_gradient_of_the_wrong_shape_is_named() -> None:
    with pytest.raises(ValueError, match=r"gradient must be \(d_out, d_in\) = \(2, 3\); got \(3, 2\)"):
        INDEFINITE.solve(torch.ones(3, 2).double(), damping=1.0)


def test_factors_of_unequal_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="square and of equal shapes"):
        KroneckerSum(((torch.eye(2), torch.eye(3)), (torch.eye(3), torch.eye(2))))
