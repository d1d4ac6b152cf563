"""TKFAC: the trace-restricted Kronecker approximation F̂ = δ Φ⊗Ψ (Gao et al. 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kfsvd.approximations.base import Approximation

if TYPE_CHECKING:
    from kfsvd.curvature.kronecker_sum import KroneckerSum
    from kfsvd.network.samples import LayerSamples


@dataclass(frozen=True)
class TKFAC(Approximation):
    """δ = E[‖G‖²], Φ = E[GᵀG]/δ, Ψ = E[GGᵀ]/δ of per-example gradients G: one power step of KPSVD from identities.

    With one position δ = E[‖a‖²‖g‖²], Φ = E[‖g‖² a aᵀ]/δ, Ψ = E[‖a‖² g gᵀ]/δ. Its trace is F's own. √δ goes to either
    factor.
    """

    name = "tkfac"

    def fit(self, samples: LayerSamples) -> KroneckerSum:
        """Φ and Ψ of the samples' weighted means."""
        from kfsvd.curvature.kronecker_sum import KroneckerSum

        double, w = samples.double(), samples.normalised_weights
        dtype = samples.activations.dtype
        if samples.positions == 1:
            squares_a = double.activations.flatten(1).square().sum(1)
            squares_g = double.gradients.flatten(1).square().sum(1)
            delta = (w * squares_a * squares_g).sum()
            share = w / delta.sqrt() if delta > 0 else w * 0
            return KroneckerSum(((samples.input_moment(share * squares_g), samples.output_moment(share * squares_a)),))
        d_out, d_in = samples.shape
        phi, psi = w.new_zeros(d_in, d_in), w.new_zeros(d_out, d_out)
        for chosen, g in double.gradient_chunks():
            weighted = g * w[chosen, None, None]
            phi += (g.mT @ weighted).sum(0)
            psi += (weighted @ g.mT).sum(0)
        root = phi.trace().sqrt()
        if root > 0:
            phi, psi = phi / root, psi / root
        return KroneckerSum(((phi.to(dtype), psi.to(dtype)),))
