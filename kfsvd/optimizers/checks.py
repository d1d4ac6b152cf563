"""What an optimizer refuses before it takes a step, whom a warning is addressed to, and a clock that is none."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext

from torch import nn


def refuse_parallel(model: nn.Module) -> None:
    """Raise a TypeError where the model is, or holds, one that runs in replicas."""
    kinds = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    parallel = model if isinstance(model, kinds) else next((m for m in model.modules() if isinstance(m, kinds)), None)
    if parallel is not None:
        raise TypeError(
            f"{type(parallel).__name__} is not supported: the curvature would be of one replica's inputs only, and "
            "differ between replicas; give the optimizer the plain module"
        )


def user_level() -> int:
    """The stack level of the line outside this package that makes the optimizer, for warnings."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals["__name__"].startswith("kfsvd."):
        level, frame = level + 1, frame.f_back
    return level


def no_phase(_name: str) -> AbstractContextManager[object]:
    """Where no clock asks for the phases of a step."""
    return nullcontext()
