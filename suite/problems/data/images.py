"""What a data set says of itself, and what it loads to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class DataInfo:
    """What is known of a data set before it is loaded.

    Args:
        description: a few words for people.
        train: number of training examples.
        test: number of test examples.
        source: where it comes from.
        classes: number of classes of its labels; None where it has no labels.
        unit_interval: whether its pixels lie in [0, 1], as Bernoulli targets must.
        shape: height and width of an image.

    """

    description: str
    train: int
    test: int
    source: str
    classes: int | None
    unit_interval: bool
    shape: tuple[int, int]


class Found(NamedTuple):
    """Where a data set is, without loading it."""

    name: str  # as reports will show it
    where: str  # a path, or what will be done where there is none


class Check(NamedTuple):
    """A file at hand against its checksum."""

    file: Path
    expected: str  # SHA-256 of its content, in hex
    actual: str

    @property
    def ok(self) -> bool:
        """Whether it is what it should be."""
        return self.expected == self.actual


@dataclass(frozen=True, eq=False)
class Images:
    """Images x = stored · scale.

    Args:
        name: as reports show it.
        train: (n, height, width), uint8 or float16; may be a memory-mapped file.
        test: likewise.
        scale: what a stored unit is worth.
        train_labels: (n,) int64 class indices, or None.
        test_labels: likewise.

    """

    name: str
    train: NDArray[Any]
    test: NDArray[Any]
    scale: float
    train_labels: NDArray[np.int64] | None = None
    test_labels: NDArray[np.int64] | None = None
