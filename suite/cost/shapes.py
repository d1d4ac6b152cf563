"""A network by its shapes: what a cost depends on, read off a forward pass on the meta device."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.func import functional_call

from kfsvd.network.capture import original, traceless
from kfsvd.network.layers import has_trained_bias, supported_layers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from kfsvd.network.layers import SupportedModule


@dataclass(frozen=True)
class LayerShape:
    """A layer as s = W ā for T positions of every example.

    Args:
        name: in the model.
        d_in: numbers of ā, the bias's 1 included.
        d_out: numbers of s.
        bias: whether there is that 1.
        positions: T.
        propagates: whether the gradient of its inputs is wanted, as of every layer but the first.

    """

    name: str
    d_in: int
    d_out: int
    bias: bool = True
    positions: int = 1
    propagates: bool = True

    @property
    def numbers(self) -> int:
        """Of its weight and bias."""
        return self.d_in * self.d_out

    def __str__(self) -> str:
        return f"{self.name}, {self.d_out:,}×{self.d_in:,}"


@dataclass(frozen=True)
class NetworkShape:
    """What an iteration's cost depends on.

    Args:
        layers: that are preconditioned, in the order of the forward pass.
        inputs: numbers of one example.
        outputs: numbers of one example's outputs.
        activations: numbers that each other module puts out for one example.
        others: numbers of each parameter outside the layers.

    """

    layers: tuple[LayerShape, ...]
    inputs: int
    outputs: int
    activations: tuple[int, ...] = ()
    others: tuple[int, ...] = ()

    @property
    def parameters(self) -> tuple[int, ...]:
        """Numbers of every parameter."""
        own = [part for la in self.layers for part in ([la.numbers - la.d_out, la.d_out] if la.bias else [la.numbers])]
        return (*own, *self.others)


def network_shape(model: nn.Module, example: Sequence[int] | None = None) -> NetworkShape:
    """The shapes of `model` on examples of shape `example`.

    Args:
        model: the network, on any device; it is called with one tensor and nothing is computed.
        example: the shape of one example; if None, the width of the first layer, which must be linear then.

    Raises:
        ValueError: no layer is supported, the shape is needed, or the model does not take it.

    """
    model = original(model)
    layers = supported_layers(model)
    if not layers:
        raise ValueError("the model has no Linear or Conv2d layer that is supported: its cost is not known")
    if example is None:
        first = next(iter(layers.values()))
        if not isinstance(first, nn.Linear):
            raise ValueError("the first layer is a convolution: its cost depends on `example`, the shape of an example")
        example = (first.in_features,)
    uses: dict[str, list[tuple[int, bool]]] = {name: [] for name in layers}
    activations: list[int] = []

    def of_layer(name: str, layer: SupportedModule) -> Any:
        def hook(_module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
            width = layer.weight.shape[0]
            uses[name].append((output.numel() // _BATCH // width, arguments[0].requires_grad))

        return layer.register_forward_hook(hook)

    def of_other(_module: nn.Module, _arguments: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor):
            activations.append(output.numel() // _BATCH)

    with traceless(model), torch.enable_grad():
        handles = [of_layer(name, layer) for name, layer in layers.items()]
        known = {id(layer) for layer in layers.values()}
        leaves = [m for m in model.modules() if id(m) not in known and not [*m.children()]]
        handles += [leaf.register_forward_hook(of_other) for leaf in leaves if not isinstance(leaf, _VIEWS)]
        try:
            outputs = functional_call(model, _on_meta(model), torch.empty(_BATCH, *example, device="meta"))
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise ValueError(f"the model does not take examples of shape {tuple(example)}: {error}") from None
        finally:
            for handle in handles:
                handle.remove()
    if not isinstance(outputs, torch.Tensor):
        raise ValueError(f"the model must return one tensor of outputs; got {type(outputs).__name__}")
    shapes = [_layer_shape(name, layers[name], uses[name]) for name in uses if uses[name]]
    own = {id(p) for layer in layers.values() for p in (layer.weight, layer.bias)}
    others = [p.numel() for p in model.parameters() if p.requires_grad and id(p) not in own]
    return NetworkShape(tuple(shapes), math.prod(example), outputs.numel() // _BATCH, tuple(activations), tuple(others))


_BATCH = 2  # examples of the pass on the meta device: one is refused by batch normalisation
_VIEWS = (nn.Flatten, nn.Unflatten, nn.Identity)


def _on_meta(model: nn.Module) -> dict[str, Tensor]:
    """The model's parameters and buffers as shapes alone."""
    named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {n: torch.empty_like(t, device="meta", requires_grad=t.requires_grad) for n, t in named.items()}


def _layer_shape(name: str, layer: SupportedModule, uses: list[tuple[int, bool]]) -> LayerShape:
    bias = has_trained_bias(layer)
    positions, propagates = sum(positions for positions, _ in uses), any(wanted for _, wanted in uses)
    return LayerShape(name, layer.weight[0].numel() + bias, layer.weight.shape[0], bias, positions, propagates)
