"""KPSVD: the best single Kronecker product, min ‖F − R⊗S‖_F (Koroko et al. 2022, §3.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kfsvd.kronecker import KroneckerSum
from kfsvd.rearrangement import GramProblem

if TYPE_CHECKING:
    from kfsvd.samples import LayerSamples


def kpsvd(samples: LayerSamples) -> KroneckerSum:
    """R = √σ₁ mat(u₁), S = √σ₁ mat(v₁) from the leading singular triple of Z(F); both positive semidefinite."""
    problem = GramProblem(samples)
    (triple,) = problem.leading_triples(1)
    return KroneckerSum((problem.factors(triple),))
