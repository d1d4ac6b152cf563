"""One number that is not finite is seen, and a sum beyond float16 is no alarm."""

from __future__ import annotations

import pytest
import torch

from kfsvd.linalg.finite import all_finite


@pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
def test_one_number_that_is_not_finite_is_seen(dtype: torch.dtype, wrong: float, device: str) -> None:
    tensors = [torch.ones(700, 300, dtype=dtype, device=device), torch.ones(5, dtype=dtype, device=device)]
    assert all_finite(tensors), "their sum is beyond float16"
    others = [torch.ones(2, device=device), torch.empty(0, device=device)]
    assert all_finite([*tensors, *others]), "of several dtypes, and one of nothing"
    for place in (0, 12_345, 209_999):
        tensors[0].view(-1)[place] = wrong
        assert not all_finite(tensors)
        assert not all_finite(tensors[::-1])
        assert not all_finite([*others, *tensors])
        tensors[0].view(-1)[place] = 1


def test_nothing_is_finite() -> None:
    assert all_finite([])
    assert all_finite([torch.empty(0), torch.ones(2)])
