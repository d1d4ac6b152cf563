"""Moments of samples."""

from __future__ import annotations

import pytest
import torch

from kfsvd.network.samples import STRIP, moment

WIDTHS = (1, 3, 5, 16, 2 * STRIP, 2 * STRIP + 1, 3 * STRIP + 7)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_moment_is_the_weighted_sum_of_outer_products(width: int, dtype: torch.dtype) -> None:
    """Symmetric to the last bit as well, whichever way BLAS adds, with weights of either sign."""
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randn(7 + 13 * seed, width, generator=generator, dtype=dtype)
        weights = torch.randn(len(rows), generator=generator, dtype=dtype)
        found = moment(rows, weights)
        expected = torch.einsum("n,ni,nj->ij", weights.double(), rows.double(), rows.double())
        rounding = 1e-5 if dtype == torch.float32 else 1e-13
        torch.testing.assert_close(found.double(), expected, rtol=rounding, atol=rounding * len(rows))
        assert torch.equal(found, found.mT)
