"""The two ways to make a trained model smaller: weights taken out, or two factors in the place of a weight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from kfsvd.compression.base import LowRank, Pruning
from kfsvd.compression.factoring import factored
from kfsvd.compression.pruning import pruned
from kfsvd.compression.registry import LOW_RANKS, PRUNINGS
from kfsvd.options.choices import Structure
from kfsvd.options.registry import made

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from torch import nn

    from kfsvd.compression.masks import Masks
    from kfsvd.compression.pruning import Sampler


_M = TypeVar("_M", Pruning, LowRank)


def prune(
    model: nn.Module,
    sample: Sampler | None = None,
    *,
    ratio: float,
    method: str | Pruning = "surgeon",
    structure: Structure = "element",
    shots: int = 1,
    exclude: Collection[str] = (),
    **options: Any,
) -> Masks:
    """Take weights out of the Linear and Conv2d layers of a model, in place; the others make up for them.

    The units of all layers stand in one row, and the cheapest go, as many as hold no more than 1 − `ratio` of all
    weights. With several shots a part of them goes in each, and costs and changes are worked out anew for the weights
    that the last one left. Biases are never removed; they take part in making up.

    Args:
        model: changed in place; layers that `kfsvd.network.layers.supported_layers` leaves out stay as they are.
        sample: the samples of every layer for the model as it stands, by the layer's name, as `kfsvd.capture` returns
            them; not needed for "magnitude".
        ratio: the share of the weights that is left, in (0, 1], of all layers but the excluded; 1 changes nothing.
        method: a name in `PRUNINGS`, or a method.
        structure: what goes as one: "element", a "row" (the weights of an output) or a "column" (of an input).
        shots: in how many steps of equal size.
        exclude: names of layers that stay whole; the last one for rows, whose units are the outputs themselves.
        options: the fields of the method's class: `approximation`, `damping` and `guard` for "surgeon".

    Returns:
        What is left, to be held at zero in training.

    Raises:
        ValueError: no method has that name or such an option, a value is out of range, samples are missing, or there is
            no such layer to exclude.
        FloatingPointError: weights or samples are not finite; the model is as it was before the last shot.
        IndefiniteError: a rank-2 sum is not positive definite and the guard is "raise".

    """
    return pruned(model, sample, _made(PRUNINGS, method, options), ratio, structure, shots, exclude)


def low_rank(
    model: nn.Module,
    sample: Sampler | None = None,
    *,
    ratio: float,
    method: str | LowRank = "gfwsvd",
    **options: Any,
) -> dict[str, int]:
    """Replace the Linear layers of a model by two each, of rank ⌈ratio · nm/(n + m)⌉ for a weight n×m; in place.

    Biases are kept. A layer whose factors would hold no fewer numbers than its weight stays as it is, as all do at a
    ratio of 1; hooks on a layer that is replaced go with it.

    Args:
        model: changed in place; Conv2d layers stay as they are.
        sample: as for `prune`; not needed for "svd".
        ratio: the share of the numbers of a weight that its factors hold, in (0, 1].
        method: a name in `LOW_RANKS`, or a method.
        options: the fields of the method's class: `approximation` and `damping` for "gfwsvd", `damping` for "fwsvd".

    Returns:
        The rank of every layer that was replaced, by its name.

    Raises:
        ValueError: no method has that name or such an option, a value is out of range, samples are missing, or the
            model is itself a Linear.
        FloatingPointError: weights or samples are not finite; the model is as it was.

    """
    return factored(model, sample, _made(LOW_RANKS, method, options), ratio)


def _made(known: Mapping[str, type[_M]], method: str | _M, options: Mapping[str, Any]) -> _M:
    if not isinstance(method, str):
        if options:
            raise ValueError(f"the options of a method that is given are its own; got {', '.join(options)}")
        return method
    return made(known, method, options)
