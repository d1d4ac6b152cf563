"""KFAC-corrected: KFAC plus the best Kronecker product for what it leaves (Koroko et al. 2022, §3.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from kfsvd.approximations.kfac import kfac
from kfsvd.kronecker import KroneckerSum
from kfsvd.rearrangement import GramProblem

if TYPE_CHECKING:
    from kfsvd.samples import LayerSamples


def kfac_corrected(samples: LayerSamples) -> KroneckerSum:
    """A⊗G + P⊗Q, min over P, Q of ‖(F − A⊗G) − P⊗Q‖_F.

    The coupling of the residual is diag(w) − w wᵀ/Σw: P⊗Q is the leading pair of the cross-covariance of vec(a aᵀ)
    and vec(g gᵀ).
    """
    problem = GramProblem(samples)
    w = problem.coupling.diagonal()
    (triple,) = problem.leading_triples(1, coupling=problem.coupling - torch.outer(w, w) / w.sum())
    return KroneckerSum((*kfac(samples).terms, problem.factors(triple)))
