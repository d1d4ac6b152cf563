"""Taking weights out of a model, by one threshold over all layers and in several shots."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, get_args

import torch

from kfsvd.compression.masks import Masks
from kfsvd.linalg.finite import all_finite
from kfsvd.network.layers import as_matrix, as_parameters, supported_layers, trained_parameters
from kfsvd.options.choices import Structure

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from torch import Tensor, nn

    from kfsvd.compression.base import Pruning, Removal
    from kfsvd.network.layers import SupportedModule
    from kfsvd.network.samples import LayerSamples

    Sampler = Callable[[nn.Module], Mapping[str, LayerSamples]]


def pruned(
    model: nn.Module,
    sample: Sampler | None,
    pruning: Pruning,
    ratio: float,
    structure: Structure,
    shots: int,
    exclude: Collection[str] = (),
) -> Masks:
    """`kfsvd.compression.prune` by a method that is made."""
    check_ratio(ratio)
    if structure not in get_args(Structure):
        raise ValueError(f"structure must be one of {', '.join(get_args(Structure))}; got {structure!r}")
    if shots < 1:
        raise ValueError(f"shots must be at least 1; got {shots}")
    layers = _chosen(supported_layers(model), exclude)
    check_weights(layers)
    gone = {name: torch.zeros_like(_columns(layer), dtype=torch.bool) for name, layer in layers.items()}
    total = sum(mask.numel() for mask in gone.values())
    remove = math.floor((1 - ratio) * total + 1e-6)  # not one too few for the rounding of 1 − ratio
    for shot in range(1, shots + 1) if remove else ():
        samples = sampled(model, sample, pruning.name, layers) if pruning.sampled else {}
        removals = {name: _removal(name, layer, pruning, samples.get(name)) for name, layer in layers.items()}
        costs = {name: removal.costs(structure) for name, removal in removals.items()}
        gone = _cheapest(costs, gone, structure, remove * shot // shots)
        changed = {name: _changed(layers[name], removal, gone[name]) for name, removal in removals.items()}
        if not all_finite(part for parts in changed.values() for part in parts):
            raise FloatingPointError("the weights that are left would not be finite; raise the damping")
        with torch.no_grad():
            for name, parts in changed.items():
                for parameter, part in zip(trained_parameters(layers[name]), parts, strict=True):
                    parameter.copy_(part)
    masks = Masks({name: (~mask).reshape(layers[name].weight.shape) for name, mask in gone.items()})
    masks.apply(model)  # exact zeros, whatever was added to what
    return masks


def _chosen(layers: Mapping[str, SupportedModule], exclude: Collection[str]) -> dict[str, SupportedModule]:
    """All but those that are to stay whole."""
    names = [exclude] if isinstance(exclude, str) else list(exclude)
    unknown = [name for name in names if name not in layers]
    if unknown:
        raise ValueError(f"exclude names no such layers: {', '.join(unknown)}; there are {', '.join(layers)}")
    chosen = {name: layer for name, layer in layers.items() if name not in names}
    if layers and not chosen:
        raise ValueError("exclude names every layer that could be compressed")
    return chosen


def check_ratio(ratio: float) -> None:
    """Raise a ValueError where a ratio is not in (0, 1]."""
    if not 0 < ratio <= 1:
        raise ValueError(f"ratio must be above 0 and at most 1, the share of the weights that is left; got {ratio}")


def check_weights(layers: Mapping[str, SupportedModule]) -> None:
    """Raise where there is no layer, or one whose weights are not finite."""
    if not layers:
        raise ValueError("the model has no layer that could be compressed: no Linear or Conv2d with a trained weight")
    for name, layer in layers.items():
        if not all_finite(parameter.detach() for parameter in trained_parameters(layer)):
            raise FloatingPointError(f"the weights of layer {name!r} are not finite")


def sampled(
    model: nn.Module, sample: Sampler | None, method: str, layers: Mapping[str, SupportedModule]
) -> Mapping[str, LayerSamples]:
    """The samples of every layer, from what the user gives."""
    if sample is None:
        raise ValueError(f"the method {method!r} needs samples: give a function of the model, such as kfsvd.capture")
    samples = sample(model)
    missing = [name for name in layers if name not in samples]
    if missing:
        raise ValueError(f"there are no samples of layers {', '.join(missing)}")
    return samples


def _removal(name: str, layer: SupportedModule, pruning: Pruning, samples: LayerSamples | None) -> Removal:
    weights = as_matrix(layer, [parameter.detach() for parameter in trained_parameters(layer)])
    try:
        return pruning.removal(weights, _columns(layer).shape[1], samples)
    except FloatingPointError as error:
        raise FloatingPointError(f"layer {name!r}: {error}") from None


def _columns(layer: SupportedModule) -> Tensor:
    """The weight without its bias as a matrix, (d_out, columns)."""
    return layer.weight.detach().flatten(1)


def _cheapest(
    costs: Mapping[str, Tensor], gone: Mapping[str, Tensor], structure: Structure, remove: int
) -> dict[str, Tensor]:
    """What is gone once the cheapest units are, as many as hold no more than `remove` weights in all.

    One threshold over all layers; what is gone already stays so.
    """
    sizes, prices = [], []
    for name, cost in costs.items():
        d_out, columns = gone[name].shape
        size = {"element": 1, "row": columns, "column": d_out}[structure]
        already = {"element": gone[name], "row": gone[name].all(1), "column": gone[name].all(0)}[structure]
        prices.append(cost.masked_fill(already, -math.inf).flatten().cpu())
        sizes.append(torch.full((cost.numel(),), size))
    order = torch.cat(prices).argsort(stable=True)
    chosen = torch.zeros(len(order), dtype=torch.bool)
    chosen[order] = torch.cat(sizes)[order].cumsum(0) <= remove
    found = {}
    for (name, cost), units in zip(costs.items(), torch.split(chosen, [len(price) for price in prices]), strict=True):
        mask = units.reshape(cost.shape).to(cost.device)
        mask = mask.unsqueeze(1) if structure == "row" else mask
        found[name] = mask.expand(gone[name].shape)
    return found


def _changed(layer: SupportedModule, removal: Removal, gone: Tensor) -> list[Tensor]:
    """The layer's parameters without the weights that are gone, the others made up."""
    before = as_matrix(layer, [parameter.detach() for parameter in trained_parameters(layer)])
    if not gone.any():
        return as_parameters(layer, before)
    whole = torch.cat([gone, gone.new_zeros(len(gone), before.shape[1] - gone.shape[1])], 1)
    return as_parameters(layer, before + removal.change(whole))
