"""Both solvers against SciPy's SVD of the rearranged dense Fisher matrix, and against each other."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.linalg
import torch

from kfsvd import LayerSamples, best_relative_error, fit, relative_error
from kfsvd.rearrangement import GramRearrangement, MatrixFreeRearrangement, cheaper_solver, gram, rearranged
from kfsvd.rearrangement.krylov import golub_kahan_lanczos, power_svd
from tests.kfsvd import oracle
from tests.kfsvd.conftest import HOSTILE, make_samples, with_positions

SOLVERS = ["gram", "matrix_free"]
PAIRS = ["kpsvd", "deflation", "lanczos"]
CASES = {
    "one position": lambda: make_samples(12, 5, 4),
    "few samples": lambda: make_samples(3, 6, 5),
    "many samples": lambda: make_samples(60, 3, 4),
    "positions": lambda: with_positions(5, 3, 4, 3),
    "more positions than inputs": lambda: with_positions(4, 7, 3, 4),
    "weighted": lambda: LayerSamples(
        *(getattr(make_samples(9, 4, 3), name) for name in ("activations", "gradients")),
        torch.linspace(0.01, 3, 9).double(),
    ),
}


@pytest.fixture(params=["decomposed", "krylov"], autouse=True)
def core(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """In Gram form small cores are decomposed at once: every test also with a Krylov space in the place of that."""
    if request.param == "krylov":
        monkeypatch.setattr(gram, "DIRECT", 0)


def symmetric_part(matrix: oracle.Array, d_in: int, d_out: int) -> oracle.Array:
    """Z(F) between symmetric matrices: what sums of products with symmetric factors can reach."""
    z = oracle.rearranged(matrix, d_in, d_out)
    left = (np.eye(d_in**2) + np.eye(d_in**2).reshape(d_in, d_in, -1).transpose(1, 0, 2).reshape(d_in**2, -1)) / 2
    return np.asarray(left @ z)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("rank", [1, 2, 5])
def test_pairs_are_the_leading_singular_triples(case: str, solver: str, rank: int) -> None:
    samples = CASES[case]()
    d_out, d_in = samples.shape
    u, s, vt = scipy.linalg.svd(symmetric_part(oracle.fisher(samples), d_in, d_out), full_matrices=False)
    z = (u[:, :rank] * s[:rank]) @ vt[:rank]
    expected = z.reshape(d_in, d_in, d_out, d_out).transpose(0, 2, 1, 3).reshape(d_in * d_out, -1)
    for method in PAIRS:
        approximation = fit(method, samples, rank=rank, solver=solver)
        assert approximation.rank == rank
        assert oracle.relative(approximation.dense().numpy(), expected) < 1e-8, method
    problem = rearranged(samples, solver)
    for pairs in (problem.leading(rank), problem.bidiagonalised(rank)):
        sigmas = np.array([float(pair.sigma) for pair in pairs])
        expected_sigmas = np.concatenate([s, np.zeros(rank)])[:rank]
        np.testing.assert_allclose(sigmas, expected_sigmas, rtol=1e-8, atol=1e-7 * s[0])
        np.testing.assert_allclose(sigmas[0], s[0], rtol=1e-12)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("rank", [2, 3])
def test_the_solvers_agree_on_kfac_corrected(case: str, rank: int) -> None:
    samples = CASES[case]()
    gram, free = (fit("kfac_corrected", samples, rank=rank, solver=solver) for solver in SOLVERS)
    assert oracle.relative(free.dense().numpy(), gram.dense().numpy()) < 1e-8
    d_out, d_in = samples.shape
    kfac = fit("kfac", samples).dense().numpy()
    z = symmetric_part(oracle.fisher(samples) - kfac, d_in, d_out)
    s = scipy.linalg.svd(z, compute_uv=False)
    left = np.linalg.norm(oracle.rearranged(oracle.fisher(samples) - gram.dense().numpy(), d_in, d_out))
    skew = np.linalg.norm(oracle.rearranged(oracle.fisher(samples) - kfac, d_in, d_out) - z)
    assert left == pytest.approx(np.sqrt(skew**2 + (s[rank - 1 :] ** 2).sum()), rel=1e-9, abs=1e-10)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("method", PAIRS)
def test_the_error_falls_with_the_rank_to_zero(solver: str, method: str) -> None:
    samples = make_samples(4, 5, 3)
    errors = [relative_error(samples, fit(method, samples, rank=rank, solver=solver)) for rank in range(1, 6)]
    best = [best_relative_error(samples, rank=rank) for rank in range(1, 6)]
    assert errors == pytest.approx(best, abs=2e-7)
    assert all(a >= b - 1e-12 for a, b in itertools.pairwise(errors))
    assert errors[3] < 1e-7, "four samples make at most four pairs"


@pytest.mark.parametrize("method", PAIRS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_hostile_samples_are_approximated_optimally_by_either_solver(method: str, solver: str) -> None:
    for case, make in HOSTILE.items():
        hostile = make()
        approximation = fit(method, hostile, solver=solver)
        if not hostile.gradients.any():
            assert not approximation.dense().any(), case
            continue
        best = best_relative_error(hostile, rank=approximation.rank, solver="gram")
        assert relative_error(hostile, approximation) == pytest.approx(best, abs=1e-6), case
        for factor in approximation.terms[0]:
            values = torch.linalg.eigvalsh(factor)
            assert values.min() >= -1e-7 * values.abs().max(), case


@pytest.mark.parametrize("solver", SOLVERS)
def test_repeated_singular_values_are_found_as_often_as_they_occur(solver: str) -> None:
    """Four equal values: a single Krylov space holds one direction of them."""
    eye = torch.eye(4, dtype=torch.float64)
    samples = LayerSamples(eye, eye)
    pairs = rearranged(samples, solver).bidiagonalised(5)
    assert [float(pair.sigma) for pair in pairs] == pytest.approx([0.25] * 4 + [0], abs=1e-12)
    assert relative_error(samples, fit("lanczos", samples, rank=4, solver=solver)) < 1e-7


@pytest.mark.parametrize("method", [*PAIRS, "kfac_corrected"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_float32_agrees_with_float64(method: str, solver: str) -> None:
    samples = make_samples(30, 8, 6)
    single = LayerSamples(samples.activations.float(), samples.gradients.float())
    approximation = fit(method, single, solver=solver)
    assert all(factor.dtype == torch.float32 for term in approximation.terms for factor in term)
    assert oracle.relative(approximation.dense().double().numpy(), fit(method, samples).dense().numpy()) < 1e-4


def test_the_cheaper_solver_is_chosen() -> None:
    assert cheaper_solver(make_samples(128, 300, 200)) == "gram", "wide layer, small batch"
    assert cheaper_solver(make_samples(5000, 10, 10)) == "matrix_free", "narrow layer, large batch"
    assert cheaper_solver(with_positions(64, 49, 10, 8)) == "matrix_free", "a convolution"
    assert cheaper_solver(with_positions(32, 4, 37, 16)) == "matrix_free", "few positions, a narrow layer"
    wide = make_samples(1500, 256, 256)
    assert cheaper_solver(wide, first_only=True) == "matrix_free", "the leading triple takes few iterations"
    assert cheaper_solver(wide) == "gram", "a second one takes hundreds"
    assert isinstance(rearranged(make_samples(8, 4, 3)), GramRearrangement)
    assert isinstance(rearranged(make_samples(5000, 10, 10)), MatrixFreeRearrangement)


@pytest.mark.parametrize("case", CASES)
def test_the_leading_pair_by_power_iteration_is_the_eigenproblems(case: str) -> None:
    z = GramRearrangement(CASES[case]())
    assert z._power() is not None
    one, two = z.factors(z.leading()[0]), z.factors(z.leading(2)[0])
    for mine, other in zip(one, two, strict=True):
        assert oracle.relative(mine.numpy(), other.numpy()) < 1e-10


def test_close_singular_values_are_left_to_the_eigenproblem() -> None:
    sizes = torch.linspace(1, 1 + 1e-4, 5, dtype=torch.float64)
    samples = LayerSamples(torch.diag(sizes), torch.eye(5, dtype=torch.float64))
    z = GramRearrangement(samples)
    assert z._power() is None
    expected = torch.zeros(5, 5, dtype=torch.float64)
    expected[4, 4] = 1
    a, b = z.factors(z.leading()[0])
    torch.testing.assert_close(a / a.norm(), expected)
    torch.testing.assert_close(b / b.norm(), expected)


def test_a_dominant_sample_is_found_whatever_its_gradient() -> None:
    """A start by gradients alone would hold 1e-16 of it."""
    a, g = torch.eye(3, dtype=torch.float64), torch.eye(3, dtype=torch.float64)
    a[2, 2], g[2, 2] = 1e9, 1e-8
    pair = GramRearrangement(LayerSamples(a, g)).leading()[0]
    assert float(pair.sigma) == pytest.approx(100 / 3)


def test_power_iteration_ends_on_a_wide_layer_in_float32() -> None:
    """Lengths of a million numbers that were summed in float32 left a residual above the tolerance for good."""
    made = make_samples(4, 1000, 1000, dtype=torch.float32)
    z = MatrixFreeRearrangement(LayerSamples(made.activations.abs(), made.gradients))
    triple = power_svd(z, z._start(), z._tolerance)
    assert triple is not None
    for vector in (triple.left, triple.right):
        assert float(vector.double().norm()) == pytest.approx(1, abs=5e-7)


def test_a_gram_form_beyond_memory_is_refused_with_the_way_out() -> None:
    with pytest.raises(ValueError, match=r"78,400 columns.*use solver='matrix_free'"):
        fit("kpsvd", with_positions(64, 49, 3, 3), solver="gram")


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("kpsvd", {"rank": 0}, "rank must be at least 1; got 0"),
        ("kpsvd", {"solver": "svd"}, "solver must be one of auto, gram, matrix_free; got 'svd'"),
        ("kfac", {"rank": 2}, "kfac has no option 'rank'; it has none"),
        ("ekfac", {"basis": "kpvd"}, "basis must be one of kfac, kpsvd; got 'kpvd'"),
    ],
)
def test_bad_options_are_named(method: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit(method, make_samples(3, 2, 2), **options)


class Matrix:
    """An operator for the Krylov methods."""

    def __init__(self, matrix: torch.Tensor) -> None:
        self.matrix, self.dimensions, self.products = matrix, tuple(matrix.shape), 0

    def apply(self, right: torch.Tensor) -> torch.Tensor:
        self.products += 1 if right.ndim == 1 else len(right)
        return right @ self.matrix.mT

    def apply_transposed(self, left: torch.Tensor) -> torch.Tensor:
        return left @ self.matrix

    def random_start(self, generator: torch.Generator) -> torch.Tensor:
        return torch.randn(self.dimensions[1], generator=generator, dtype=self.matrix.dtype)


def test_lanczos_compresses_its_basis_and_still_converges() -> None:
    """Slowly decaying singular values need more than one basis of 48."""
    generator = torch.Generator().manual_seed(0)
    u, v = (
        torch.linalg.qr(torch.randn(n, 300, generator=generator, dtype=torch.float64), "reduced")[0] for n in (400, 300)
    )
    sigmas = 1 / (1 + 0.002 * torch.arange(300, dtype=torch.float64))
    operator = Matrix(u * sigmas @ v.mT)
    start = torch.randn(300, generator=generator, dtype=torch.float64)
    triples = golub_kahan_lanczos(operator, start, rank=3, tolerance=1e-10)
    torch.testing.assert_close(torch.stack([t.sigma for t in triples]), sigmas[:3], rtol=1e-10, atol=0)
    for k, triple in enumerate(triples):
        assert float((triple.left @ u[:, k]).abs()) == pytest.approx(1, abs=1e-8)
        assert float((triple.right @ v[:, k]).abs()) == pytest.approx(1, abs=1e-8)
    assert operator.products > 48, "this case must reach the compression"


def test_power_iteration_stops_on_a_relative_residual_and_gives_up_on_close_values() -> None:
    start = torch.ones(3, dtype=torch.float64)
    for scale in (1e-30, 1.0, 1e30):
        operator = Matrix(scale * torch.diag(torch.tensor([3.0, 1.0, 0.5]).double()))
        triple = power_svd(operator, start, tolerance=1e-11)
        assert triple is not None
        assert float(triple.sigma) == pytest.approx(3 * scale, rel=1e-12)
        assert operator.products < 20
    close = Matrix(torch.diag(torch.tensor([1.0, 1 - 1e-6, 0.5]).double()))
    assert power_svd(close, start, tolerance=1e-11) is None


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_what_rounding_adds_is_no_triple(dtype: torch.dtype) -> None:
    """A product of one pair, and starts that hold next to nothing of it: the first images are small."""
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        u, v, other = (torch.randn(60, generator=generator, dtype=dtype) for _ in range(3))
        u, v = u / u.norm(), v / v.norm()
        triples = golub_kahan_lanczos(Matrix(torch.outer(u, v)), other - (other @ v) * v, rank=2, tolerance=1e-6)
        assert len(triples) == 1
        assert float(triples[0].sigma) == pytest.approx(1, rel=1e-5)


def test_samples_that_are_not_finite_are_refused_by_name() -> None:
    samples = make_samples(30, 8, 6)
    samples.activations[3, 2] = float("nan")
    with pytest.raises(FloatingPointError, match="the samples are not finite"):
        fit("lanczos", samples, solver="gram")
