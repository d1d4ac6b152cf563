"""TKFAC: the trace-restricted Kronecker approximation F̂ = δ Φ⊗Ψ (Gao et al. 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kfsvd.kronecker import KroneckerSum

if TYPE_CHECKING:
    from kfsvd.samples import LayerSamples


def tkfac(samples: LayerSamples) -> KroneckerSum:
    """δ = E[‖a‖²‖g‖²], Φ = E[‖g‖² a aᵀ]/δ, Ψ = E[‖a‖² g gᵀ]/δ: one power step of KPSVD from identities.

    Its trace is F's own. √δ goes to either factor.
    """
    w = samples.normalised_weights
    squares_a = samples.activations.double().square().sum(1)
    squares_g = samples.gradients.double().square().sum(1)
    delta = (w * squares_a * squares_g).sum()
    share = w / delta.sqrt() if delta > 0 else w * 0
    return KroneckerSum(((samples.input_moment(share * squares_g), samples.output_moment(share * squares_a)),))
