"""KFAC: F̂ = E[a aᵀ] ⊗ E[g gᵀ] (Martens & Grosse 2015), exact where a aᵀ and g gᵀ are uncorrelated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kfsvd.approximations.base import Approximation
from kfsvd.kronecker import KroneckerSum

if TYPE_CHECKING:
    from kfsvd.samples import LayerSamples


@dataclass(frozen=True)
class KFAC(Approximation):
    """A⊗G; with T positions A = E[Σ_t a_t a_tᵀ] and G = E[Σ_t g_t g_tᵀ]/T (Grosse & Martens 2016, "expand")."""

    name = "kfac"

    def fit(self, samples: LayerSamples) -> KroneckerSum:
        """The expectations are the samples' weighted means."""
        w = samples.normalised_weights
        return KroneckerSum(
            ((samples.input_moment(w), samples.output_moment(w / (w.sum() * samples.positions))),),
        )
