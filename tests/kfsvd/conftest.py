"""Samples of every kind that the library's promises are held against."""

from __future__ import annotations

import torch

from kfsvd import APPROXIMATIONS, KroneckerSum, LayerSamples
from kfsvd.approximations import approximation


def make_samples(m: int, d_in: int, d_out: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> LayerSamples:
    """Correlated, skewed samples: gradients depend on activations, so that no approximation is exact."""
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(m, d_in, generator=generator, dtype=dtype)
    a[:, -1] = 1
    mix = torch.randn(d_in, d_out, generator=generator, dtype=dtype)
    noise = torch.randn(m, d_out, generator=generator, dtype=dtype)
    return LayerSamples(activations=a, gradients=torch.tanh(a @ mix) * noise + 0.3 * noise)


def with_positions(m: int, positions: int, d_in: int, d_out: int, seed: int = 0) -> LayerSamples:
    """The same kind of samples for a layer that is applied several times to each example."""
    flat = make_samples(m * positions, d_in, d_out, seed=seed)
    return LayerSamples(
        flat.activations.reshape(m, positions, d_in), flat.gradients.reshape(m, positions, d_out) / positions
    )


KRONECKER = [name for name in APPROXIMATIONS if approximation(name).curvature is KroneckerSum]
"""The approximations whose F̂ is a sum of Kronecker products."""
WITH_RULE = [(name, rule) for name in APPROXIMATIONS for rule in approximation(name).damping_rules]
"""Every approximation with every damping rule that it takes."""

HOSTILE = {
    "one example": lambda: make_samples(1, 4, 3),
    "duplicated examples": lambda: LayerSamples(
        activations=make_samples(3, 4, 3).activations.repeat(4, 1),
        gradients=make_samples(3, 4, 3).gradients.repeat(4, 1),
    ),
    "zero gradients": lambda: LayerSamples(
        activations=make_samples(6, 4, 3).activations, gradients=torch.zeros(6, 3, dtype=torch.float64)
    ),
    "half zero gradients": lambda: LayerSamples(
        activations=make_samples(6, 4, 3).activations,
        gradients=make_samples(6, 4, 3).gradients * torch.tensor([1.0, 0.0] * 3).double().unsqueeze(1),
    ),
    "huge": lambda: LayerSamples(
        activations=make_samples(6, 4, 3).activations * 1e20, gradients=make_samples(6, 4, 3).gradients * 1e20
    ),
    "tiny": lambda: LayerSamples(
        activations=make_samples(6, 4, 3).activations * 1e-20, gradients=make_samples(6, 4, 3).gradients * 1e-20
    ),
    "orthogonal examples of equal size": lambda: LayerSamples(
        activations=torch.eye(4, dtype=torch.float64), gradients=torch.eye(4, 5, dtype=torch.float64)
    ),
    "swapped pair": lambda: LayerSamples(
        activations=torch.tensor([[1.0, 0.5, 1.0], [0.5, 1.0, 1.0]]).double(),
        gradients=torch.tensor([[1.0, 0.2], [0.2, 1.0]]).double(),
    ),
}
"""Name → samples on which a careless implementation yields NaN, an indefinite first factor or a missed pair."""
