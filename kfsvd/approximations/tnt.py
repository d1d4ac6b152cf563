"""TNT: tensor-normal training, F̂ = E[GᵀG]⊗E[GGᵀ]/E[‖G‖²] (Ren & Goldfarb 2021, arXiv 2106.02925); no library has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kfsvd.approximations.base import Approximation

if TYPE_CHECKING:
    from torch import Tensor

    from kfsvd.curvature.base import Curvature
    from kfsvd.curvature.kronecker_sum import KroneckerSum
    from kfsvd.network.samples import LayerSamples


@dataclass(frozen=True)
class TNT(Approximation):
    """Φ⊗Ψ/δ, Φ = E[GᵀG], Ψ = E[GGᵀ], δ = E[‖G‖²] of G = Σ_n √w_n G_n: the covariance of a matrix-normal gradient.

    TKFAC's formula on one gradient of the whole curvature batch, with sampled labels, in place of one for each example:
    E[vec G vec Gᵀ] = F too, as gradients with different labels are uncorrelated. So F̂ of a single batch is noisy, and
    what is averaged over refreshes are the moments Φ, Ψ and δ themselves. Needs `fisher="monte_carlo"`. The kernel of a
    convolution is one matrix (d_out, d_in): its modes are two, not the paper's four.
    """

    name = "tnt"

    def fit(self, samples: LayerSamples) -> KroneckerSum:
        """F̂ of the one gradient G."""
        return _product(*_moments(samples))

    def average(self, past: Curvature, samples: LayerSamples, rho: float) -> KroneckerSum:
        """F̂ of ρ times the past moments and (1 − ρ) times those of the new batch."""
        from kfsvd.curvature.kronecker_sum import KroneckerSum

        assert isinstance(past, KroneckerSum)
        ((a, b),) = past.terms
        root = a.trace()  # √δ: F̂ is kept as Φ/√δ ⊗ Ψ/√δ
        phi, psi = _moments(samples)
        return _product((a * root).lerp(phi, 1 - rho), (b * root).lerp(psi, 1 - rho))


def _moments(samples: LayerSamples) -> tuple[Tensor, Tensor]:
    """GᵀG and GGᵀ, in the samples' dtype."""
    g = samples.double().combine(samples.normalised_weights.sqrt())
    dtype = samples.activations.dtype
    return (g.mT @ g).to(dtype), (g @ g.mT).to(dtype)


def _product(phi: Tensor, psi: Tensor) -> KroneckerSum:
    """Φ/√δ ⊗ Ψ/√δ, δ their trace; zero where that is."""
    from kfsvd.curvature.kronecker_sum import KroneckerSum

    delta = phi.trace()
    scale = delta.clamp(min=0).sqrt().reciprocal().where(delta > 0, 0)
    return KroneckerSum(((phi * scale, psi * scale),))
