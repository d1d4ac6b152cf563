"""Low-rank inverses against dense linear algebra: their error, as an operator, never passes its stated bound."""

from __future__ import annotations

import pytest
import torch

import kfsvd.inverse.low_rank
import kfsvd.linalg.subspace
from kfsvd import IndefiniteError, KroneckerSum, LayerSamples, fit
from kfsvd.inverse.damped import DenseDirection, FactoredInverse, SpectralInverse
from kfsvd.inverse.damping import FLOOR, damped_factors
from kfsvd.inverse.low_rank import LowRankInverse
from tests.kfsvd.conftest import HOSTILE, make_samples


@pytest.fixture(autouse=True)
def small_layers_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Low rank at widths that a dense oracle can take."""
    monkeypatch.setattr(kfsvd.inverse.low_rank, "SMALL", (0, 0))


def decaying(m: int, d_in: int, d_out: int, seed: int = 0, power: float = 1.0) -> LayerSamples:
    """Samples whose moments have a spectrum that falls by a power law."""
    plain = make_samples(m, d_in, d_out, seed=seed)
    generator = torch.Generator().manual_seed(seed + 100)
    turn_in, turn_out = (torch.linalg.qr(torch.randn(d, d, generator=generator).double()).Q for d in (d_in, d_out))
    fall_in, fall_out = (torch.arange(1, d + 1).double() ** -power for d in (d_in, d_out))
    return LayerSamples(plain.activations * fall_in @ turn_in, plain.gradients * fall_out @ turn_out)


def operator(inverse: LowRankInverse, shape: tuple[int, int]) -> torch.Tensor:
    """The inverse as a matrix on vec(V), column-major."""
    d_out, d_in = shape
    columns = [inverse(unit.reshape(d_in, d_out).mT).mT.flatten() for unit in torch.eye(d_in * d_out).double()]
    return torch.stack(columns, 1)


def relative_to(matrix: torch.Tensor, damped: torch.Tensor) -> torch.Tensor:
    """Eigenvalues of L⁻¹ M L⁻ᵀ with damped = L Lᵀ."""
    factor = torch.linalg.cholesky(damped)
    half = torch.linalg.solve_triangular(factor, matrix, upper=False)
    return torch.linalg.eigvalsh(torch.linalg.solve_triangular(factor, half.mT, upper=False))


def error_of_product(inverse: LowRankInverse, curvature: KroneckerSum, damping: float, pi: float | None) -> float:
    """Sup ‖Δ̃ − Δ‖/‖Δ‖ in the norm of the damped product: |μν − 1| over the eigenvalues of Ã⁻¹A_λ and B̃⁻¹B_λ."""
    a, b = damped_factors(*curvature.terms[0], damping, pi)
    sides = []
    for basis, shrinkage, factor in (
        (inverse.basis_in, inverse.shrinkage_in, a),
        (inverse.basis_out, inverse.shrinkage_out, b),
    ):
        thin = torch.eye(len(factor)).double() - basis * shrinkage @ basis.mT
        sides.append(relative_to(factor, torch.linalg.inv(thin)))
    products = torch.outer(*sides).flatten() * inverse.scale
    return float((products - 1).abs().max())


@pytest.fixture(params=["exact", "iterative"])
def decomposition(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to the leading eigenpairs, at widths that a dense oracle can take."""
    monkeypatch.setattr(kfsvd.linalg.subspace, "SMALL", 1000 if request.param == "exact" else 4)
    monkeypatch.setattr(kfsvd.linalg.subspace, "COLD", 6)
    monkeypatch.setattr(kfsvd.linalg.subspace, "EXTRA", 3)
    return str(request.param)


def test_two_products_within_a_few_directions_are_inverted_exactly() -> None:
    """Three directions of each side have eigenvalues, all others none: nothing is neglected."""
    terms = tuple(
        (torch.diag(torch.tensor([*of_a, *[0] * 37])).double(), torch.diag(torch.tensor([*of_b, *[0] * 27])).double())
        for of_a, of_b in (([9.0, 8, 7], [5.0, 4, 3]), ([2.0, -3, 1], [3.0, 1, -2]))
    )
    curvature = KroneckerSum(terms)
    inverse = curvature.low_rank_inverse(0.01, rule="factored")
    assert isinstance(inverse, LowRankInverse)
    gradient = torch.randn(30, 40, generator=torch.Generator().manual_seed(0)).double()
    dense = curvature.inverse(0.01, rule="factored")(gradient)
    torch.testing.assert_close(inverse(gradient), dense, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("method", ["kfac", "deflation"])
def test_a_direction_is_the_same_in_every_form(method: str) -> None:
    curvature = fit(method, decaying(100, 90, 60))
    assert isinstance(curvature, KroneckerSum)
    inverse = curvature.low_rank_inverse(0.03)
    assert isinstance(inverse, LowRankInverse)
    gradient, momentum = torch.randn(60, 90).double(), torch.randn(60, 90).double()
    step = inverse(gradient)
    direction, dense = inverse.direction(gradient), DenseDirection(gradient, step)
    torch.testing.assert_close(direction.slope, (gradient * step).sum())
    torch.testing.assert_close(dense.slope, direction.slope)
    scale = torch.tensor(0.3, dtype=torch.float64)
    added, likewise = momentum.clone(), momentum.clone()
    direction.add_to(added, 0.9, scale)
    dense.add_to(likewise, 0.9, scale)
    torch.testing.assert_close(added, 0.9 * momentum + 0.3 * step)
    torch.testing.assert_close(likewise, added)


@pytest.mark.parametrize("method", ["kfac", "deflation"])
def test_a_warm_start_finds_the_same_with_less(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    curvature = fit(method, decaying(500, 300, 200))
    assert isinstance(curvature, KroneckerSum)
    steps = 0
    iterate = kfsvd.linalg.subspace.Subspace.iterate

    def counted(self: kfsvd.linalg.subspace.Subspace, number: int = 1) -> None:
        nonlocal steps
        steps += number
        iterate(self, number)

    monkeypatch.setattr(kfsvd.linalg.subspace.Subspace, "iterate", counted)
    cold = curvature.low_rank_inverse(0.01)
    from_cold, steps = steps, 0
    warm = curvature.low_rank_inverse(0.01, start=cold)
    assert isinstance(cold, LowRankInverse)
    assert isinstance(warm, LowRankInverse)
    assert steps <= from_cold / 2
    assert max(abs(c - w) for c, w in zip(cold.ranks, warm.ranks, strict=True)) <= 1
    gradient = torch.randn(200, 300).double()
    torch.testing.assert_close(warm(gradient), cold(gradient), rtol=0.02, atol=0.02 * float(cold(gradient).abs().max()))


@pytest.mark.usefixtures("decomposition")
@pytest.mark.parametrize("method", ["kfac", "kpsvd", "tkfac"])
@pytest.mark.parametrize(
    ("power", "damping", "tolerance"),
    [(0.5, 1e-1, 0.5), (1.0, 1e-2, 1.0), (2.0, 1e-3, 2.0), (0.5, 1e-1, 5.0), (1.0, 1.0, 20.0)],
)
def test_one_product_is_inverted_within_the_tolerance(
    method: str, power: float, damping: float, tolerance: float
) -> None:
    curvature = fit(method, decaying(90, 70, 60, power=power))
    assert isinstance(curvature, KroneckerSum)
    for rule, pi in (("factored_pi", None), ("factored", 1.0)):
        inverse = curvature.low_rank_inverse(damping, rule=rule, tolerance=tolerance)
        if isinstance(inverse, FactoredInverse):
            continue
        assert isinstance(inverse, LowRankInverse)
        assert sum(inverse.ranks) < 65
        assert error_of_product(inverse, curvature, damping, pi) <= inverse.bound * (1 + 1e-9) <= tolerance


@pytest.mark.usefixtures("decomposition")
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("tolerance", [0.3, 0.6, 1.0, 3.0])
def test_the_bound_holds_where_the_isotropic_part_is_large(share: float, tolerance: float) -> None:
    """Many equal eigenvalues near the damping: their mean is far from the zeros beside them."""
    generator = torch.Generator().manual_seed(0)
    factors = []
    for width in (70, 60):
        turn = torch.linalg.qr(torch.randn(width, width, generator=generator).double()).Q
        large = (torch.arange(width) < share * width).double()
        factors.append((turn * large) @ turn.mT)
    curvature = KroneckerSum((tuple(factors),))
    inverse = curvature.low_rank_inverse(1.0, rule="factored", tolerance=tolerance)
    if isinstance(inverse, LowRankInverse):
        assert error_of_product(inverse, curvature, 1.0, 1.0) <= inverse.bound + 1e-9 <= tolerance + 1e-9


def test_neglected_directions_count_with_the_mean_of_their_damped_eigenvalues() -> None:
    curvature = fit("kfac", decaying(200, 60, 50))
    assert isinstance(curvature, KroneckerSum)
    inverse = curvature.low_rank_inverse(0.01, rule="factored", tolerance=5.0)
    assert isinstance(inverse, LowRankInverse)
    means = []
    for factor, kept in zip(curvature.terms[0], inverse.ranks, strict=True):
        assert 0 < kept < len(factor)
        means.append(torch.linalg.eigvalsh(factor)[:-kept].mean() + 0.1)
    torch.testing.assert_close(1 / inverse.scale, means[0] * means[1], rtol=1e-10, atol=0)


def test_ranks_adapt_to_tolerance_and_damping() -> None:
    curvature = fit("kfac", decaying(400, 200, 150))
    assert isinstance(curvature, KroneckerSum)

    def kept(damping: float, tolerance: float) -> int:
        inverse = curvature.low_rank_inverse(damping, tolerance=tolerance)
        assert isinstance(inverse, LowRankInverse)
        return sum(inverse.ranks)

    ranks = [kept(0.01, tolerance) for tolerance in (1.0, 4.0, 16.0)]
    assert ranks[0] > ranks[1] > ranks[2] > 0
    ranks = [kept(damping, 4.0) for damping in (1e-3, 1e-2, 1e-1)]
    assert ranks[0] > ranks[1] > ranks[2] > 0


@pytest.mark.usefixtures("decomposition")
@pytest.mark.parametrize("method", ["deflation", "lanczos", "kfac_corrected"])
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("damping", "tolerance"), [(1e-2, 2.0), (1e-3, 20.0), (1e-4, 100.0), (1e-4, 400.0)])
def test_two_products_are_inverted_within_the_tolerance(
    method: str, seed: int, damping: float, tolerance: float
) -> None:
    """Against F̂_λ + G, where G is what the guard has added in the directions that are kept."""
    curvature = fit(method, decaying(60, 28, 22, seed=seed, power=1.5))
    assert isinstance(curvature, KroneckerSum)
    inverse = curvature.low_rank_inverse(damping, tolerance=tolerance)
    if isinstance(inverse, SpectralInverse):
        return
    assert isinstance(inverse, LowRankInverse)
    assert inverse.pair_in is not None
    assert inverse.pair_out is not None
    assert inverse.gains is not None
    a, b = damped_factors(*curvature.terms[0], damping, None)
    p, q = curvature.terms[1]
    directions = inverse.basis_in @ inverse.pair_in, inverse.basis_out @ inverse.pair_out
    s, t = (torch.diagonal(k.mT @ factor @ k) for k, factor in zip(directions, (p, q), strict=True))
    added = (1 / (1 + inverse.gains) - (1 + torch.outer(t, s))).mT.flatten()
    first = LowRankInverse(**{**vars(inverse), "pair_in": None, "pair_out": None, "gains": None})
    joint = torch.linalg.solve(operator(first, curvature.shape), torch.kron(*directions))
    exact = torch.kron(a, b) + torch.kron(p, q) + (joint * added) @ joint.mT
    ratios = relative_to(exact, torch.linalg.inv(operator(inverse, curvature.shape)))
    assert float((ratios - 1).abs().max()) <= inverse.bound * (1 + 1e-9) <= tolerance
    assert float((1 / (1 + inverse.gains)).min()) >= FLOOR * (1 - 1e-9)


@pytest.mark.parametrize("method", ["kfac", "deflation"])
def test_a_small_tolerance_gives_the_dense_inverse(method: str) -> None:
    curvature = fit(method, make_samples(40, 30, 20))
    assert isinstance(curvature, KroneckerSum)
    gradient = torch.randn(20, 30).double()
    inverse = curvature.low_rank_inverse(0.01, tolerance=1e-6)
    assert not isinstance(inverse, LowRankInverse)
    torch.testing.assert_close(inverse(gradient), curvature.inverse(0.01, rule="factored_pi")(gradient))


@pytest.mark.parametrize("method", ["kfac", "kpsvd", "deflation", "kfac_corrected"])
def test_gradients_of_the_samples_are_preconditioned_far_better_than_the_bound(method: str) -> None:
    """Of float32 samples, as in training."""
    made = decaying(300, 160, 140)
    samples = LayerSamples(made.activations.float(), made.gradients.float())
    curvature = fit(method, samples)
    assert isinstance(curvature, KroneckerSum)
    inverse = curvature.low_rank_inverse(0.01)
    assert isinstance(inverse, LowRankInverse)
    gradient = samples.combine(torch.ones(len(samples)))
    dense = curvature.inverse(0.01, rule="factored_pi")(gradient)
    difference = inverse(gradient) - dense
    a, b = damped_factors(*curvature.terms[0], 0.01, None)

    def square(v: torch.Tensor) -> float:
        rest = sum(((q @ v @ p) for p, q in curvature.terms[1:]), torch.zeros_like(v))
        return float((v * (b @ v @ a + rest)).sum())

    assert square(difference) < 0.5**2 * square(dense)
    cosine = (inverse(gradient) * dense).sum() / inverse(gradient).norm() / dense.norm()
    assert cosine > 0.95


def test_directions_that_are_new_since_the_start_are_found() -> None:
    """A warm start knows nothing of them; the bound would be broken if they were missed."""
    past, present = decaying(400, 200, 150, seed=1), decaying(400, 200, 150, seed=2)
    start = fit("kfac", past).low_rank_inverse(0.01)  # type: ignore[attr-defined]
    curvature = fit("kfac", present)
    assert isinstance(curvature, KroneckerSum)
    inverse = curvature.low_rank_inverse(0.01, start=start)
    assert isinstance(inverse, LowRankInverse)
    assert error_of_product(inverse, curvature, 0.01, None) <= inverse.bound <= 5


@pytest.mark.parametrize("method", ["kfac", "kpsvd", "deflation", "lanczos", "kfac_corrected", "tkfac"])
def test_hostile_samples_give_a_finite_step(method: str) -> None:
    for case, make in HOSTILE.items():
        hostile = make()
        curvature = fit(method, hostile)
        assert isinstance(curvature, KroneckerSum)
        gradient = torch.ones(curvature.shape).double()
        assert torch.isfinite(curvature.low_rank_inverse(0.1)(gradient)).all(), case


def test_a_small_layer_is_inverted_densely(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    for d_in, dense in ((60, True), (300, False)):
        curvature = fit("kfac", decaying(100, d_in, 80))
        assert isinstance(curvature, KroneckerSum)
        assert isinstance(curvature.low_rank_inverse(0.1), FactoredInverse) is dense


def test_nothing_is_kept_where_all_is_below_the_damping() -> None:
    curvature = fit("kfac", make_samples(30, 12, 9))
    assert isinstance(curvature, KroneckerSum)
    inverse = curvature.low_rank_inverse(1e6)
    assert isinstance(inverse, LowRankInverse)
    assert inverse.ranks == (0, 0)
    gradient = torch.randn(9, 12).double()
    torch.testing.assert_close(inverse(gradient), gradient / 1e6, rtol=0.01, atol=0)


def test_the_guard_that_refuses_refuses() -> None:
    first = torch.eye(3).double(), torch.eye(3).double()
    second = torch.diag(torch.tensor([3.0, 0, 0])).double(), torch.diag(torch.tensor([-3.0, 0, 0])).double()
    with pytest.raises(IndefiniteError, match="not positive definite"):
        KroneckerSum((first, second)).low_rank_inverse(1e-2, guard="raise", tolerance=5.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"damping": 0.0}, "damping must be positive"),
        ({"damping": 0.1, "tolerance": 0.0}, "tolerance must be positive and finite; got 0.0"),
        (
            {"damping": 0.1, "rule": "exact"},
            "a low-rank inverse takes a factored rule and at most two terms; got exact, 1",
        ),
        ({"damping": 0.1, "guard": "none"}, "guard must be one of"),
    ],
)
def test_bad_choices_are_named(options: dict[str, object], message: str) -> None:
    curvature = fit("kfac", make_samples(5, 4, 3))
    assert isinstance(curvature, KroneckerSum)
    with pytest.raises(ValueError, match=message):
        curvature.low_rank_inverse(**options)  # type: ignore[arg-type]
