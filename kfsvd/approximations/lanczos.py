"""Lanczos: the best Kronecker products jointly, by bidiagonalisation (Koroko et al. 2022, §3.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kfsvd.approximations.singular_pairs import Rank, SingularPairs

if TYPE_CHECKING:
    from kfsvd.curvature.kronecker_sum import KroneckerSum
    from kfsvd.network.samples import LayerSamples


@dataclass(frozen=True)
class Lanczos(SingularPairs):
    """The `rank` leading singular triples of Z(F) by block Golub–Kahan–Lanczos, fully re-orthogonalised.

    In Gram form with up to 256 columns (samples, of one position) LAPACK decomposes the core sooner: the same triples.
    """

    name = "lanczos"
    rank: Rank = 2

    def fit(self, samples: LayerSamples) -> KroneckerSum:
        """All products from one Krylov space."""
        from kfsvd.curvature.kronecker_sum import KroneckerSum
        from kfsvd.rearrangement import rearranged

        z = rearranged(samples, self.solver)
        return KroneckerSum(tuple(z.factors(pair) for pair in z.bidiagonalised(self.rank)))
