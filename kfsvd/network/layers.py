"""The layers that a Kronecker curvature is kept for, each seen as s = W ā: a matrix times its inputs.

`Linear`: ā is the input with the bias's 1 appended, and every further dimension of the input a position. `Conv2d`: ā is
a patch of the input, (C·k·k) with the bias's 1, and every output pixel a position; W is the kernel flattened to
(C_out, C·k·k).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

SupportedModule = nn.Linear | nn.Conv2d


def supported_layers(model: nn.Module) -> dict[str, SupportedModule]:
    """The layers of `model` that are preconditioned, by name; see `why_unsupported` for the others."""
    tied = tied_parameters(model)
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, SupportedModule) and why_unsupported(module, model, tied) is None
    }


def tied_parameters(model: nn.Module) -> set[int]:
    """The identities of the parameters that several modules of `model` share."""
    owners = Counter(id(p) for m in model.modules() for p in m.parameters(recurse=False))
    return {key for key, count in owners.items() if count > 1}


def why_unsupported(module: nn.Module, model: nn.Module, tied: set[int] | None = None) -> str | None:
    """Why a module of `model` with parameters of its own is not preconditioned; None if it is.

    Who asks of many modules gives their `tied_parameters`, which takes a walk over the model.
    """
    if not isinstance(module, SupportedModule):
        return f"{type(module).__name__} is neither Linear nor Conv2d"
    if not module.weight.requires_grad:
        return "its weight is frozen"
    if isinstance(module, nn.Conv2d) and module.groups != 1:
        return f"a convolution with groups={module.groups} has no single Kronecker form"
    tied = tied_parameters(model) if tied is None else tied
    if any(id(p) in tied for p in module.parameters()):
        return "its parameters are tied to another module's"
    if nn.utils.parametrize.is_parametrized(module):
        return "its weight is parametrized"
    return None


def has_trained_bias(module: SupportedModule) -> bool:
    """Whether a 1 is appended to the layer's inputs."""
    return module.bias is not None and module.bias.requires_grad


def trained_parameters(module: SupportedModule) -> list[Tensor]:
    """The weight, and the bias where it is trained."""
    bias = [module.bias] if module.bias is not None and module.bias.requires_grad else []
    return [module.weight, *bias]


def activation_rows(module: SupportedModule, inputs: Tensor) -> Tensor:
    """ā of every example and position, (m, d_in) or (m, T, d_in), at least float32.

    Raises:
        ValueError: inputs without a batch dimension.

    """
    least = 4 if isinstance(module, nn.Conv2d) else 2
    if inputs.ndim < least:
        raise ValueError(f"a layer must see a batch; got inputs of shape {tuple(inputs.shape)}")
    inputs = _at_least_float32(inputs.detach())
    if isinstance(module, nn.Conv2d):
        rows = _patches(module, inputs)
    else:
        rows = inputs.flatten(1, -2) if inputs.ndim > 2 else inputs
    if not has_trained_bias(module):
        return rows.clone()
    return torch.cat([rows, rows.new_ones(*rows.shape[:-1], 1)], -1)


def gradient_rows(module: SupportedModule, gradient: Tensor) -> Tensor:
    """The rows g of every example and position, (m, d_out) or (m, T, d_out), of the gradient of the layer's outputs."""
    gradient = _at_least_float32(gradient)
    if isinstance(module, nn.Conv2d):
        return gradient.flatten(2).mT.contiguous()
    return gradient.flatten(1, -2) if gradient.ndim > 2 else gradient


def as_matrix(module: SupportedModule, tensors: Sequence[Tensor]) -> Tensor:
    """[W b], (d_out, d_in), of tensors shaped as `trained_parameters`; at least float32."""
    weight, *bias = (_at_least_float32(t) for t in tensors)
    return torch.cat([weight.flatten(1), *(b.unsqueeze(1) for b in bias)], 1)


def as_parameters(module: SupportedModule, matrix: Tensor) -> list[Tensor]:
    """The parts of [W b] shaped as `trained_parameters`."""
    weight = module.weight
    columns = weight[0].numel()
    parts = [matrix[:, :columns].reshape(weight.shape)]
    return [*parts, matrix[:, -1]] if has_trained_bias(module) else parts


def _patches(module: nn.Conv2d, inputs: Tensor) -> Tensor:
    """The inputs of every output pixel, (m, T, C·k·k), in the order of the flattened kernel."""
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    padded = functional.pad(inputs, module._reversed_padding_repeated_twice, mode=mode)
    patches = functional.unfold(padded, module.kernel_size, module.dilation, 0, module.stride)
    return patches.mT


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()
