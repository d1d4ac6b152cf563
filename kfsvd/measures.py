"""Exact measures of a Fisher approximation, the Fisher block never formed.

With the per-example gradients G_n and sample weights w (one position: ⟨G_n, G_n'⟩ = (a_n·a_n')(g_n·g_n')):

    ‖F‖²        = Σ_nn' w_n w_n' ⟨G_n, G_n'⟩²                            O(m² d)
    ⟨F, A⊗B⟩    = Σ_n w_n ⟨G_n, B G_n A⟩                                 O(m d²)
    ‖F − F̂‖²   = ‖F‖² − 2⟨F, F̂⟩ + ‖F̂‖²
    best rank k = ‖F‖² − Σ_{i≤k} σ_i²                                    σ_i: singular values of Z(F) (Eckart–Young)
    spectra     = ‖F‖² − 2 Σ_{i≤m} λ_i(F) λ_i(F̂) + ‖F̂‖²                F has no more than m eigenvalues λ_i

All of it is in float64. Every function takes any samples: those that F̂ was fitted to, for a measure in batch, or fresh
ones, for one held out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from kfsvd.curvature.sampled import SampledFisher, check_corresponding, fisher_spectrum, natural_gradient, network_gram
from kfsvd.rearrangement import rearranged

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from kfsvd.curvature.base import Curvature
    from kfsvd.network.samples import LayerSamples
    from kfsvd.options.choices import Solver

_TAIL = 1e-6
"""Share of ‖F‖ in the eigenvalues that a spectrum error may leave out."""


def norm(samples: LayerSamples) -> Tensor:
    """‖F‖_F = √(Σ_nn' w_n w_n' ⟨G_n, G_n'⟩²) of the samples' Fisher block, a float64 scalar in squared nats.

    Args:
        samples: the layer's samples.

    """
    return SampledFisher(samples).norm()


def inner(samples: LayerSamples, approximation: Curvature) -> Tensor:
    """⟨F, F̂⟩, the Frobenius inner product, a float64 scalar.

    Args:
        samples: the layer's samples; F is their Fisher block.
        approximation: F̂ of a layer of the same shape.

    """
    return approximation.fisher_inner(samples)


def relative_error(samples: LayerSamples, approximation: Curvature) -> float:
    """‖F − F̂‖_F / ‖F‖_F: Error 1 of Koroko et al. 2022, exact at any width.

    F is the Fisher block of `samples`: those that F̂ was fitted to, for the error in batch; others, for the error held
    out. The three terms are subtracted in float64, so an error below about 1e-8 reads as any number of that size.

    Args:
        samples: the layer's samples; F is their Fisher block.
        approximation: F̂, as `kfsvd.fit` or an optimizer's `approximations()` give it.

    Raises:
        ValueError: F is zero (no error is defined), or shapes do not agree.

    """
    _check_shapes(samples, approximation)
    size = _positive_norm(samples)
    squared = size**2 - 2 * inner(samples, approximation) + approximation.norm() ** 2
    return float(squared.clamp(min=0).sqrt() / size)


def best_relative_error(samples: LayerSamples, rank: int, *, solver: Solver = "auto") -> float:
    """The smallest relative error that any sum of `rank` Kronecker products reaches on these samples.

    √(‖F‖² − Σ_{i≤rank} σ_i²)/‖F‖, by Eckart–Young on the rearranged block. (With several positions: of `rank`
    products with symmetric factors.)

    Args:
        samples: the layer's samples; F is their Fisher block.
        rank: the number of Kronecker products, at least 1.
        solver: how the singular values σ_i of Z(F) are found: "gram", "matrix_free" or "auto"; see
            `kfsvd.rearrangement`.

    Raises:
        ValueError: F is zero, rank < 1, or no solver has that name.

    """
    if rank < 1:
        raise ValueError(f"rank must be at least 1; got {rank}")
    size = _positive_norm(samples)
    pairs = rearranged(samples.double(), solver).leading(rank)
    kept = torch.stack([pair.sigma**2 for pair in pairs]).sum()
    return float((1 - kept / size**2).clamp(min=0).sqrt())


def spectrum_error(samples: LayerSamples, approximation: Curvature) -> float:
    """‖σ(F) − σ(F̂)‖₂ / ‖σ(F)‖₂ with both spectra sorted descending: Error 2 of Koroko et al. 2022.

    From the Gram spectrum of F and the leading eigenvalues of F̂; neither is formed. Eigenvalues of F that together
    make less than 1e-6 of ‖F‖ are left out, which changes the error's square by no more than 2e-6 ‖F̂‖/‖F‖. A sum of
    several products has no closed form: its eigenvalues are iterated for, which takes seconds on wide layers.

    Args:
        samples: the layer's samples; F is their Fisher block.
        approximation: F̂ of a layer of the same shape.

    Raises:
        ValueError: F is zero, or shapes do not agree.

    """
    _check_shapes(samples, approximation)
    size = _positive_norm(samples)
    spectrum = fisher_spectrum([samples])
    tails = spectrum.square().flip(0).cumsum(0).flip(0).sqrt()
    count = max(1, int((tails > _TAIL * size).sum()))
    leading = approximation.leading_eigenvalues(count, weights=spectrum[:count])
    overlap = (spectrum[: len(leading)] * leading).sum()
    squared = size**2 - 2 * overlap + approximation.norm() ** 2
    return float(squared.clamp(min=0).sqrt() / size)


def network_error(samples: Mapping[str, LayerSamples], approximations: Mapping[str, Curvature]) -> float:
    """‖F − diag(F̂_1, …, F̂_L)‖_F / ‖F‖_F of all layers together, F with its off-diagonal blocks.

    ‖F‖² = Σ_nn' w_n w_n' (Σ_l ⟨G_n^l, G_n'^l⟩)²; only the diagonal blocks meet the approximation.

    Args:
        samples: each layer's samples, of the same examples in the same order, as `kfsvd.capture` returns them.
        approximations: each layer's F̂.

    Raises:
        ValueError: the layers or their samples do not correspond, or F is zero.

    """
    if samples.keys() != approximations.keys():
        raise ValueError(
            f"samples and approximations must be of the same layers; got {[*samples]}, {[*approximations]}"
        )
    check_corresponding(list(samples.values()))
    w = next(iter(samples.values())).normalised_weights
    size = w @ network_gram(list(samples.values())).square() @ w
    if not size > 0:
        raise ValueError("the Fisher matrix of these samples is zero: no relative error is defined")
    squared = size.clone()
    for name, approximation in approximations.items():
        squared += approximation.norm() ** 2 - 2 * inner(samples[name], approximation)
    return float((squared / size).clamp(min=0).sqrt())


def direction_efficiency(
    samples: Mapping[str, LayerSamples],
    gradients: Mapping[str, Tensor],
    directions: Mapping[str, Tensor],
    damping: float,
) -> float:
    """How much of the exact damped natural gradient's decrease a direction d attains: in [0, 1], 1 for that itself.

        ((∇hᵀd)² / dᵀ(F+λI)d) / (∇hᵀ(F+λI)⁻¹∇h)

    Either term is twice the largest decrease of the quadratic model h + ∇hᵀδ + ½ δᵀ(F+λI)δ, along d and at all. It
    does not change with the length of d.

    Args:
        samples: each layer's samples (held-out ones, for an honest judgement), of the same examples.
        gradients: each layer's ∇h, (d_out, d_in).
        directions: each layer's part of d, (d_out, d_in).
        damping: λ.

    Raises:
        ValueError: the layers do not correspond, or the gradient or the direction is zero.

    """
    if not samples.keys() == gradients.keys() == directions.keys():
        raise ValueError("samples, gradients and directions must be of the same layers")
    double = {name: layer.double() for name, layer in samples.items()}
    g, d = ({name: each[name].double() for name in double} for each in (gradients, directions))
    slope = _dot(g, d)
    w = next(iter(double.values())).normalised_weights
    projections = torch.stack([layer.project(d[name]) for name, layer in double.items()]).sum(0)
    curvature = w @ projections.square() + damping * _dot(d, d)
    best = _dot(g, natural_gradient(double, g, damping))
    if not (best > 0 and curvature > 0):
        raise ValueError("a zero gradient or direction has no efficiency")
    return float(slope**2 / curvature / best)


def _dot(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> Tensor:
    return torch.stack([(left[name] * right[name]).sum() for name in left]).sum()


def _check_shapes(samples: LayerSamples, approximation: Curvature) -> None:
    if samples.shape != approximation.shape:
        (n, m), (k, j) = samples.shape, approximation.shape
        raise ValueError(
            f"layer shapes differ: samples are ({n}, {m}), the approximation is ({k}, {j}). "
            "Did you drop the bias column?"
        )


def _positive_norm(samples: LayerSamples) -> Tensor:
    size = norm(samples)
    if not size > 0:
        raise ValueError("the Fisher block of these samples is zero: no relative error is defined")
    return size
