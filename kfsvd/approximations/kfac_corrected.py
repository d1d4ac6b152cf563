"""KFAC-corrected: KFAC plus the best Kronecker product for what it leaves (Koroko et al. 2022, §3.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kfsvd.approximations.kfac import KFAC
from kfsvd.approximations.singular_pairs import Rank, SingularPairs, stream_step

if TYPE_CHECKING:
    from kfsvd.curvature.base import Curvature
    from kfsvd.curvature.kronecker_sum import KroneckerSum
    from kfsvd.network.samples import LayerSamples


@dataclass(frozen=True)
class KFACCorrected(SingularPairs):
    """A⊗G + P⊗Q, min over P, Q of ‖(F − A⊗G) − P⊗Q‖_F; `rank` − 1 products are added to KFAC's.

    P⊗Q is the leading pair of the cross-covariance of vec(a aᵀ) and vec(g gᵀ).
    """

    name = "kfac_corrected"
    rank: Rank = 2

    def fit(self, samples: LayerSamples) -> KroneckerSum:
        """KFAC's product, and the leading pairs of its residual."""
        from kfsvd.curvature.kronecker_sum import KroneckerSum
        from kfsvd.rearrangement import rearranged

        terms = KFAC().fit(samples).terms
        if self.rank > 1:
            z = rearranged(samples, self.solver).without_kfac()
            terms += tuple(z.factors(pair) for pair in z.leading(self.rank - 1))
        return KroneckerSum(terms)

    def stream(self, past: Curvature, samples: LayerSamples, rho: float) -> Curvature:
        """KFAC's factors averaged, and a power step on the residual that their new average leaves."""
        from kfsvd.curvature.kronecker_sum import KroneckerSum

        assert isinstance(past, KroneckerSum)
        first = KroneckerSum(past.terms[:1]).average(KFAC().fit(samples), rho)
        return stream_step(KroneckerSum(first.terms + past.terms[1:]), samples, rho, fixed=1)
