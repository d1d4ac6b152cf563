"""KFAC: F̂ = E[a aᵀ] ⊗ E[g gᵀ] (Martens & Grosse 2015), exact where a aᵀ and g gᵀ are uncorrelated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kfsvd.kronecker import KroneckerSum

if TYPE_CHECKING:
    from kfsvd.samples import LayerSamples


def kfac(samples: LayerSamples) -> KroneckerSum:
    """E[a aᵀ] ⊗ E[g gᵀ]; the expectations are the samples' weighted means."""
    w = samples.normalised_weights
    return KroneckerSum(((samples.input_moment(w), samples.output_moment(w / w.sum())),))
