"""Lanczos: the best two Kronecker products jointly, by bidiagonalisation (Koroko et al. 2022, §3.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kfsvd.kronecker import KroneckerSum
from kfsvd.rearrangement import GramProblem

if TYPE_CHECKING:
    from kfsvd.samples import LayerSamples


def lanczos(samples: LayerSamples) -> KroneckerSum:
    """The two leading singular triples of Z(F) by Golub–Kahan–Lanczos, fully re-orthogonalised."""
    problem = GramProblem(samples)
    return KroneckerSum(tuple(problem.factors(t) for t in problem.bidiagonalised_triples(2)))
