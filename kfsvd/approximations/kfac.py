"""KFAC: F̂ = E[a aᵀ] ⊗ E[g gᵀ] (Martens & Grosse 2015), exact where a aᵀ and g gᵀ are uncorrelated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kfsvd.approximations.base import Approximation

if TYPE_CHECKING:
    from kfsvd.curvature.kronecker_sum import KroneckerSum
    from kfsvd.network.samples import LayerSamples


@dataclass(frozen=True)
class KFAC(Approximation):
    """A⊗G; with T positions A = E[Σ_t a_t a_tᵀ] and G = E[Σ_t g_t g_tᵀ]/T (Grosse & Martens 2016, "expand")."""

    name = "kfac"

    def fit(self, samples: LayerSamples) -> KroneckerSum:
        """A is the samples' weighted mean; G has the weights' sum as its scale.

        So A stays E[Σ_t a_t a_tᵀ] where every example comes with several samples that add up, as in the exact Fisher.
        """
        from kfsvd.curvature.kronecker_sum import KroneckerSum

        w = samples.normalised_weights
        return KroneckerSum(((samples.input_moment(w / w.sum()), samples.output_moment(w / samples.positions)),))
