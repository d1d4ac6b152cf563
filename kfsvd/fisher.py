"""Exact Frobenius errors of a Fisher approximation, the Fisher block never formed.

With K_A = (XXᵀ)∘², K_G = (YYᵀ)∘² and sample weights w (methods: Gram identities; all in float64):

    ‖F‖²        = wᵀ (K_A ∘ K_G) w                      O(m² d)
    ⟨F, A⊗B⟩    = Σ_n w_n (a_nᵀ A a_n)(g_nᵀ B g_n)      O(m d²)
    ‖F − F̂‖²   = ‖F‖² − 2⟨F, F̂⟩ + ‖F̂‖²
    best rank k = ‖F‖² − Σ_{i≤k} σ_i²                   σ_i: singular values of Z(F) (Eckart–Young)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from kfsvd.rearrangement import GramProblem

if TYPE_CHECKING:
    from torch import Tensor

    from kfsvd.kronecker import KroneckerSum
    from kfsvd.samples import LayerSamples


def norm(samples: LayerSamples) -> Tensor:
    """‖F‖_F of the samples' Fisher block, a float64 scalar."""
    gram_a, gram_g = samples.grams
    w = samples.normalised_weights
    return (w @ (gram_a * gram_g) @ w).sqrt()


def inner(samples: LayerSamples, approximation: KroneckerSum) -> Tensor:
    """⟨F, F̂⟩, a float64 scalar."""
    x, y, w = samples.activations.double(), samples.gradients.double(), samples.normalised_weights
    products = [
        (w * ((x @ a.double()) * x).sum(1) * ((y @ b.double()) * y).sum(1)).sum() for a, b in approximation.terms
    ]
    return torch.stack(products).sum()


def relative_error(samples: LayerSamples, approximation: KroneckerSum) -> float:
    """‖F − F̂‖_F / ‖F‖_F: Error 1 of Koroko et al. 2022, exact at any width.

    F is the Fisher block of `samples`: those that F̂ was fitted to, for the error in batch; others, for the error held
    out. The three terms are subtracted in float64, so an error below about 1e-8 reads as any number of that size.

    Raises:
        ValueError: F is zero (no error is defined), or shapes do not agree.

    """
    a, b = approximation.terms[0]
    if len(a) != samples.activations.shape[1] or len(b) != samples.gradients.shape[1]:
        raise ValueError(
            f"samples of a layer {samples.gradients.shape[1]}×{samples.activations.shape[1]} "
            f"do not fit an approximation of one {len(b)}×{len(a)}"
        )
    size = _positive_norm(samples)
    squared = size**2 - 2 * inner(samples, approximation) + approximation.inner(approximation)
    return float(squared.clamp(min=0).sqrt() / size)


def best_relative_error(samples: LayerSamples, rank: int) -> float:
    """The smallest relative error that any sum of `rank` Kronecker products reaches on these samples.

    √(‖F‖² − Σ_{i≤rank} σ_i²)/‖F‖, by Eckart–Young on the rearranged block.

    Raises:
        ValueError: F is zero, or rank < 1.

    """
    if rank < 1:
        raise ValueError(f"rank must be at least 1; got {rank}")
    size = _positive_norm(samples)
    problem = GramProblem(samples)
    scale = problem.scale_a * problem.scale_g
    kept = torch.stack([triple.sigma**2 for triple in problem.leading_triples(rank)]).sum() * scale
    return float((1 - kept / size**2).clamp(min=0).sqrt())


def _positive_norm(samples: LayerSamples) -> Tensor:
    size = norm(samples)
    if not size > 0:
        raise ValueError("the Fisher block of these samples is zero: no relative error is defined")
    return size
