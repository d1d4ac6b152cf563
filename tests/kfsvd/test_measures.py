"""Exact errors against the dense oracle."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from kfsvd import LayerSamples, best_relative_error, fit, relative_error
from kfsvd import measures as fisher
from tests.kfsvd import oracle
from tests.kfsvd.conftest import make_samples


@pytest.mark.parametrize("method", ["kfac", "kpsvd", "kfac_corrected"])
@pytest.mark.parametrize("seed", range(3))
def test_relative_error_is_the_dense_one_in_batch_and_held_out(method: str, seed: int) -> None:
    fitted, fresh = make_samples(30, 5, 4, seed=seed), make_samples(17, 5, 4, seed=seed + 100)
    approximation = fit(method, fitted)
    for samples in (fitted, fresh):
        dense = oracle.fisher(samples)
        expected = np.linalg.norm(dense - approximation.dense().numpy()) / np.linalg.norm(dense)
        assert relative_error(samples, approximation) == pytest.approx(expected, rel=1e-10)
        assert float(fisher.norm(samples)) == pytest.approx(np.linalg.norm(dense), rel=1e-12)


@pytest.mark.parametrize("rank", [1, 2, 3, 5])
def test_best_relative_error_is_eckart_young(rank: int) -> None:
    samples = make_samples(30, 5, 4)
    dense = oracle.fisher(samples)
    singular_values = np.linalg.svd(oracle.rearranged(dense, 5, 4), compute_uv=False)
    expected = np.sqrt((singular_values[rank:] ** 2).sum() / (singular_values**2).sum())
    assert best_relative_error(samples, rank=rank) == pytest.approx(expected, rel=1e-10)


def test_a_zero_block_has_no_relative_error() -> None:
    samples = LayerSamples(torch.ones(3, 2), torch.zeros(3, 2))
    with pytest.raises(ValueError, match="zero: no relative error"):
        relative_error(samples, fit("kfac", samples))


def test_shapes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match=r"samples are \(3, 4\), the approximation is \(3, 5\)"):
        relative_error(make_samples(4, 4, 3), fit("kfac", make_samples(4, 5, 3)))


def test_rank_must_be_positive() -> None:
    with pytest.raises(ValueError, match="rank must be at least 1; got 0"):
        best_relative_error(make_samples(4, 4, 3), rank=0)


def test_an_exact_error_takes_products_of_the_samples_alone() -> None:
    """⟨F, F⟩ from the Gram matrices, ⟨F, F̂⟩ from the factors at each example; F̂ costs what its factors do."""
    m, d_in, d_out = 128, 785, 1000
    samples = make_samples(m, d_in, d_out, dtype=torch.float32)
    approximation = fit("kfac", samples)
    with FlopCounterMode(display=False) as counter:
        relative_error(samples, approximation)
    gram, factors = 2 * m**2 * (d_in + d_out + 1), 2 * m * (d_in**2 + d_out**2)
    assert 0 < counter.get_total_flops() <= gram + factors
