"""Inverses of many matrices at once."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from kfsvd import IndefiniteError
from kfsvd.linalg.cholesky import NARROW, damped_cholesky_inverses

SIZES = (3, 8, 3, NARROW, NARROW + 6, NARROW, NARROW + 6, 1, 3)


def definite(size: int, seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    rows = torch.randn(size, size, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return rows @ rows.mT + torch.eye(size, dtype=dtype)


def inverses(matrices: list[torch.Tensor], shift: float = 0.0) -> list[torch.Tensor]:
    return damped_cholesky_inverses(matrices, [matrix.new_tensor(shift) for matrix in matrices])


def test_every_matrix_gets_its_own_inverse_whatever_it_shares_a_call_with() -> None:
    matrices = [definite(size, seed) for seed, size in enumerate(SIZES)]
    found = inverses(matrices, 0.5)
    for matrix, inverse in zip(matrices, found, strict=True):
        eye = torch.eye(len(matrix), dtype=matrix.dtype)
        torch.testing.assert_close((matrix + 0.5 * eye) @ inverse, eye, rtol=0, atol=1e-10)
        (alone,) = inverses([matrix], 0.5)
        assert torch.equal(alone, inverse)
        assert inverse.untyped_storage().nbytes() == inverse.nbytes, "none keeps the others alive"
    assert inverses([]) == []


def test_dtypes_do_not_mix() -> None:
    single, double = inverses([definite(4, 0, torch.float32), definite(4, 0)])
    assert (single.dtype, double.dtype) == (torch.float32, torch.float64)


def test_one_that_rounding_has_spoiled_is_mended_and_the_others_are_as_they_were() -> None:
    spoiled = torch.ones(3, 3, dtype=torch.float64)
    spoiled[0, 0] -= 1e-16
    spoiled.diagonal()[1:].sub_(1e-15)
    good = definite(3, 1)
    assert int(torch.linalg.cholesky_ex(spoiled).info) > 0
    found = inverses([good, spoiled, good])
    assert torch.equal(found[0], inverses([good])[0])
    assert torch.equal(found[0], found[2])
    assert torch.isfinite(found[1]).all()


def test_one_that_no_jitter_mends_says_so() -> None:
    with pytest.raises(IndefiniteError, match="not positive definite"):
        inverses([definite(2, 0), torch.diag(torch.tensor([1.0, -1.0]).double())])


def test_calls_are_shared_by_matrices_of_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = []

    def seen(matrices: torch.Tensor) -> Any:
        shapes.append(tuple(matrices.shape))
        return factorise(matrices)

    factorise = torch.linalg.cholesky_ex
    monkeypatch.setattr(torch.linalg, "cholesky_ex", seen)
    inverses([definite(size, seed) for seed, size in enumerate(SIZES)])
    wide = NARROW + 6
    assert shapes == [(3, 3, 3), (1, 8, 8), (2, NARROW, NARROW), (1, wide, wide), (1, wide, wide), (1, 1, 1)]
