"""A layer as the optimizer sees it: a matrix of weights with its curvature, inverse and momentum."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from kfsvd.layers import as_matrix, as_parameters, has_trained_bias, trained_parameters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from kfsvd.averaging import RunningCurvature
    from kfsvd.curvature import Curvature
    from kfsvd.inverse import DampedInverse
    from kfsvd.layers import SupportedModule


class PreconditionedLayer:
    """A layer's curvature: the running average, and the damped inverse as last prepared."""

    def __init__(self, module: SupportedModule, running: RunningCurvature) -> None:
        self.module, self.running = module, running
        self.with_bias = has_trained_bias(module)
        self.inverted: Curvature | None = None  # what `inverse` was prepared of
        self.inverse: DampedInverse | None = None
        self.momentum: Tensor | None = None

    @property
    def parameters(self) -> list[Tensor]:
        """The weight, and the bias where it is trained."""
        return trained_parameters(self.module)

    @property
    def active(self) -> bool:
        """Whether a gradient has arrived and an inverse is at hand; without, a layer stands still."""
        return not self.frozen and self.inverted is not None and any(p.grad is not None for p in self.parameters)

    @property
    def frozen(self) -> bool:
        """Whether its weight has been frozen since the optimizer was made."""
        return not self.module.weight.requires_grad

    def gradient(self) -> Tensor:
        """[∇W ∇b], (d_out, d_in)."""
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]
        return as_matrix(self.module, gradients)

    def add(self, step: Tensor, scale: float) -> None:
        """[W b] += scale · step."""
        for parameter, part in zip(self.parameters, as_parameters(self.module, step), strict=True):
            parameter.add_(part.to(parameter.dtype), alpha=scale)


def by_name(
    names: list[list[str]], layers: Sequence[PreconditionedLayer], matrices: Sequence[Tensor]
) -> dict[str, Tensor]:
    """Matrices [W b] taken apart into tensors shaped as the parameters, by the parameters' names."""
    parts = {}
    for own, layer, matrix in zip(names, layers, matrices, strict=True):
        shaped = as_parameters(layer.module, matrix)
        parts.update({n: s.to(p.dtype) for n, s, p in zip(own, shaped, layer.parameters, strict=True)})
    return parts
