"""What the timings share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Kernels are timed on one thread: more only measure what else the machine does."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):  # SciPy's BLAS as well
        yield
    torch.set_num_threads(threads)
