"""A few eigenpairs, by SciPy and without: the right ones; by SciPy on one thread, whatever its BLAS is set to."""

from __future__ import annotations

import pytest
import scipy.linalg
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from kfsvd import fit
from kfsvd.linalg import few_eigenpairs
from kfsvd.linalg.few_eigenpairs import largest_eigenpairs
from tests.kfsvd.conftest import make_samples

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}


def symmetric(size: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    drawn = torch.randn(size, size, dtype=dtype, generator=torch.Generator().manual_seed(0))
    return drawn + drawn.mT


def without_scipy(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """SciPy is not found; as many elements as it was looked for."""
    asked: list[None] = []
    monkeypatch.setattr(few_eigenpairs, "_scipy_eigh", lambda: asked.append(None))
    return asked


@pytest.mark.parametrize("count", [1, 3, 7])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("scipy_is_there", [True, False])
def test_the_largest_pairs_are_those_of_a_full_decomposition(
    count: int, dtype: torch.dtype, scipy_is_there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not scipy_is_there:
        without_scipy(monkeypatch)
    matrix = symmetric(7, dtype)
    values, vectors = largest_eigenpairs(matrix, count)
    expected = torch.linalg.eigvalsh(matrix.double())[-count:]
    close = {"rtol": TOLERANCE[dtype], "atol": 10 * TOLERANCE[dtype]}
    torch.testing.assert_close(values, expected.to(dtype), **close)
    torch.testing.assert_close(matrix @ vectors, vectors * values, **close)
    torch.testing.assert_close(vectors.mT @ vectors, torch.eye(count, dtype=dtype), **close)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_with_scipy_and_without_the_pairs_are_the_same(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = symmetric(40, dtype)
    values, vectors = largest_eigenpairs(matrix, 3)
    without_scipy(monkeypatch)
    other_values, other_vectors = largest_eigenpairs(matrix, 3)
    close = {"rtol": TOLERANCE[dtype], "atol": 10 * TOLERANCE[dtype]}
    torch.testing.assert_close(values, other_values, **close)
    torch.testing.assert_close(vectors @ vectors.mT, other_vectors @ other_vectors.mT, **close)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_with_scipy_and_without_the_singular_triples_of_samples_are_the_same(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = make_samples(30, 12, 9, dtype=dtype)
    scipys = fit("kpsvd", samples, rank=2).dense()
    asked = without_scipy(monkeypatch)
    close = {"rtol": TOLERANCE[dtype], "atol": 10 * TOLERANCE[dtype]}
    torch.testing.assert_close(fit("kpsvd", samples, rank=2).dense(), scipys, **close)
    assert asked


def test_scipy_has_one_thread_meanwhile_and_its_own_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    def threads() -> set[int]:
        return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}

    seen = []
    decompose = scipy.linalg.eigh

    def watched(*arguments: object, **options: object) -> object:
        seen.append(threads())
        return decompose(*arguments, **options)

    monkeypatch.setattr(scipy.linalg, "eigh", watched)
    with threadpool_limits(2, user_api="blas"):
        before = threads()
        largest_eigenpairs(symmetric(5), 2)
        assert (seen, before, threads()) == ([{1}], {2}, {2})
