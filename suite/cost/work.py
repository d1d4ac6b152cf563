"""What the predicted time of an iteration is a sum of: operations under a name."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from suite.cost.operations import Operation


class Work(NamedTuple):
    """Operations of a named part, done every `every` iterations."""

    phase: str
    name: str
    operations: Sequence[Operation]
    every: int = 1
