"""Deflation: the best Kronecker products as successive rank-1 problems (Koroko et al. 2022, §3.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kfsvd.approximations.singular_pairs import Rank, SingularPairs

if TYPE_CHECKING:
    from kfsvd.curvature.kronecker_sum import KroneckerSum
    from kfsvd.network.samples import LayerSamples


@dataclass(frozen=True)
class Deflation(SingularPairs):
    """KPSVD of F, then KPSVD of the residual F − R⊗S, and so on to `rank` products."""

    name = "deflation"
    rank: Rank = 2

    def fit(self, samples: LayerSamples) -> KroneckerSum:
        """Each product is the best one for what those before it leave."""
        from kfsvd.curvature.kronecker_sum import KroneckerSum
        from kfsvd.rearrangement import rearranged

        z = rearranged(samples, self.solver)
        terms = []
        for _ in range(self.rank):
            (pair,) = z.leading()
            terms.append(z.factors(pair))
            z = z.without(pair)
        return KroneckerSum(tuple(terms))
