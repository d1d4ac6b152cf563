"""The truncated singular value decomposition of the weight itself: the baseline of low rank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kfsvd.compression.base import LowRank

if TYPE_CHECKING:
    from torch import Tensor

    from kfsvd.network.samples import LayerSamples


@dataclass(frozen=True)
class SVD(LowRank):
    """Min ‖W − W_r‖_F, as of a Fisher matrix that is the identity."""

    name = "svd"
    sampled = False

    def roots(self, weight: Tensor, samples: LayerSamples | None) -> tuple[Tensor | None, Tensor | None]:
        """None."""
        return None, None
