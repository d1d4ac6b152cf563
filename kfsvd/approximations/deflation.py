"""Deflation: the best two Kronecker products as two successive rank-1 problems (Koroko et al. 2022, §3.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from kfsvd.kronecker import KroneckerSum
from kfsvd.rearrangement import GramProblem

if TYPE_CHECKING:
    from kfsvd.samples import LayerSamples


def deflation(samples: LayerSamples) -> KroneckerSum:
    """KPSVD of F, then KPSVD of the residual F − R⊗S.

    The residual's rearrangement P(C − σ α βᵀ)Qᵀ keeps the form of F's own, so that the second problem is the first
    one again with another coupling.
    """
    problem = GramProblem(samples)
    (first,) = problem.leading_triples(1)
    residual = problem.coupling - first.sigma * torch.outer(first.alpha, first.beta)
    (second,) = problem.leading_triples(1, coupling=residual)
    return KroneckerSum((problem.factors(first), problem.factors(second)))
