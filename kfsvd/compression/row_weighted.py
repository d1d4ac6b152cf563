"""FWSVD (Hsu et al. 2022): each row of the weight counts by its part of the Fisher matrix's diagonal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from kfsvd.compression.base import LowRank
from kfsvd.options.compression import Damped

if TYPE_CHECKING:
    from torch import Tensor

    from kfsvd.network.samples import LayerSamples


@dataclass(frozen=True)
class RowWeighted(LowRank, Damped):
    """Min Σ_i d_i ‖W_i − (W_r)_i‖², d_i = Σ_j F_ij,ij: of the diagonal of F what can be solved in closed form.

    Args:
        damping: as for the other methods: d_i is raised by √damping of its mean.

    """

    name = "fwsvd"

    def roots(self, weight: Tensor, samples: LayerSamples | None) -> tuple[Tensor | None, Tensor | None]:
        """No L_in, L_out = diag(√d).

        Raises:
            FloatingPointError: a sample is not finite.

        """
        assert samples is not None
        double = samples.double()
        units = [torch.eye(width, dtype=torch.float64, device=weight.device) for width in reversed(samples.shape)]
        rows = double.second_moment(*units)[:, : weight.shape[1]].sum(1)
        if not torch.isfinite(rows).all():
            raise FloatingPointError("the curvature is not finite: activations or gradients are NaN or out of range")
        mean = rows.mean()
        weights = rows + self.damping**0.5 * mean if mean > 0 else torch.ones_like(rows)
        return None, weights.sqrt().diag()
