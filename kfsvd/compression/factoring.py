"""Replacing linear layers by two of low rank each."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import TYPE_CHECKING

from torch import nn

from kfsvd.compression.pruning import check_ratio, check_weights, sampled
from kfsvd.linalg.finite import all_finite
from kfsvd.network.layers import supported_layers

if TYPE_CHECKING:
    from kfsvd.compression.base import Factors, LowRank
    from kfsvd.compression.pruning import Sampler


def factored(model: nn.Module, sample: Sampler | None, method: LowRank, ratio: float) -> dict[str, int]:
    """`kfsvd.compression.low_rank` by a method that is made."""
    check_ratio(ratio)
    layers = {name: layer for name, layer in supported_layers(model).items() if isinstance(layer, nn.Linear)}
    check_weights(layers)
    if "" in layers:
        raise ValueError("a model that is a Linear itself cannot be replaced within itself: put it into a Sequential")
    ranks = {name: rank_of(layer.out_features, layer.in_features, ratio) for name, layer in layers.items()}
    ranks = {
        name: rank
        for name, rank in ranks.items()
        if rank * sum(layers[name].weight.shape) < layers[name].weight.numel()
    }
    samples = sampled(model, sample, method.name, layers) if ranks and method.sampled else {}
    replacements = {}
    for name, rank in ranks.items():
        weight = layers[name].weight.detach().double()
        try:
            factors = method.factors(weight, samples.get(name), rank)
        except FloatingPointError as error:
            raise FloatingPointError(f"layer {name!r}: {error}") from None
        if not all_finite(factors):
            raise FloatingPointError(f"layer {name!r}: its factors are not finite; raise the damping")
        replacements[name] = _two_layers(layers[name], factors)
    for name, replacement in replacements.items():
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, replacement)
    return ranks


def rank_of(d_out: int, d_in: int, ratio: float) -> int:
    """The rank ⌈ratio · d_out d_in/(d_out + d_in)⌉, whose factors hold about `ratio` of the weight's numbers.

    Args:
        d_out: rows of the weight.
        d_in: its columns.
        ratio: in (0, 1].

    """
    return math.ceil(ratio * d_out * d_in / (d_out + d_in) - 1e-9)


def _two_layers(layer: nn.Linear, factors: Factors) -> nn.Sequential:
    """`layer` with its weight in two factors, x ↦ left (right x) + b, of its dtype, device and mode."""
    parts = []
    for factor in reversed(factors):
        part = nn.Linear(factor.shape[1], factor.shape[0], bias=False, device="meta")
        part.weight = nn.Parameter(factor.to(layer.weight.dtype).contiguous())
        parts.append(part)
    first, second = parts
    second.bias = layer.bias
    return nn.Sequential(OrderedDict(first=first, second=second)).train(layer.training)
