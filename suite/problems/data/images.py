"""What every data set loads to: two arrays of images as they are stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Images:
    """Images x = stored · scale.

    Args:
        name: as reports show it.
        train: (n, height, width), uint8 or float16.
        test: likewise.
        scale: what a stored unit is worth.
        train_labels: (n,) class indices, or None.
        test_labels: likewise.

    """

    name: str
    train: NDArray[Any]
    test: NDArray[Any]
    scale: float
    train_labels: NDArray[np.integer[Any]] | None = None
    test_labels: NDArray[np.integer[Any]] | None = None
