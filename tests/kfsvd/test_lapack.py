"""Eigenpairs by SciPy: the right ones, on one thread, whatever its BLAS is set to before and after."""

from __future__ import annotations

import pytest
import scipy.linalg
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from kfsvd.linalg.few_eigenpairs import largest_eigenpairs


def symmetric(size: int) -> torch.Tensor:
    drawn = torch.randn(size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return drawn + drawn.mT


@pytest.mark.parametrize("count", [1, 3, 7])
def test_the_largest_pairs_are_those_of_a_full_decomposition(count: int) -> None:
    matrix = symmetric(7)
    values, vectors = largest_eigenpairs(matrix, count)
    expected = torch.linalg.eigvalsh(matrix)[-count:]
    torch.testing.assert_close(values, expected)
    torch.testing.assert_close(matrix @ vectors, vectors * values)
    torch.testing.assert_close(vectors.mT @ vectors, torch.eye(count, dtype=torch.float64))


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
