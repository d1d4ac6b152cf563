"""KPSVD: the best Kronecker product, min ‖F − R⊗S‖_F (Koroko et al. 2022, §3.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kfsvd.approximations.singular_pairs import SingularPairs

if TYPE_CHECKING:
    from kfsvd.curvature.kronecker_sum import KroneckerSum
    from kfsvd.network.samples import LayerSamples


@dataclass(frozen=True)
class KPSVD(SingularPairs):
    """R = √σ₁ mat(u₁), S = √σ₁ mat(v₁) from the leading singular triple of Z(F); both positive semidefinite.

    A `rank` above 1 keeps as many of the leading triples.
    """

    name = "kpsvd"

    def fit(self, samples: LayerSamples) -> KroneckerSum:
        """The truncated Kronecker product singular value decomposition of F."""
        from kfsvd.curvature.kronecker_sum import KroneckerSum
        from kfsvd.rearrangement import rearranged

        z = rearranged(samples, self.solver, first_only=self.rank == 1)
        return KroneckerSum(tuple(z.factors(pair) for pair in z.leading(self.rank)))
