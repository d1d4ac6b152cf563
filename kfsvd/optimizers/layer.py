"""A layer as the optimizer sees it: a matrix of weights with its curvature, inverse and momentum."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from kfsvd.network.layers import as_matrix, as_parameters, has_trained_bias, trained_parameters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from kfsvd.averaging import RunningCurvature
    from kfsvd.inverse.damped import DampedInverse
    from kfsvd.network.layers import SupportedModule
    from kfsvd.optimizers.scaling import AdamMoments


class PreconditionedLayer:
    """A layer's curvature as a running average, the damped inverse as last prepared, and the state of its steps."""

    def __init__(self, module: SupportedModule, running: RunningCurvature) -> None:
        self.module, self.running = module, running
        self.with_bias = has_trained_bias(module)
        self.inverse: DampedInverse | None = None
        self.inverted: dict[str, Tensor] | None = None
        """The tensors of the F̂ that `inverse` is of, where they are asked for by `moved`."""
        self.momentum: Tensor | None = None
        self.moments: AdamMoments | None = None

    @property
    def parameters(self) -> list[Tensor]:
        """The weight, and the bias where it is trained."""
        return trained_parameters(self.module)

    @property
    def active(self) -> bool:
        """Whether a gradient has arrived and an inverse is at hand; without, a layer stands still."""
        return not self.frozen and self.inverse is not None and any(p.grad is not None for p in self.parameters)

    @property
    def frozen(self) -> bool:
        """Whether its weight has been frozen since the optimizer was made."""
        return not self.module.weight.requires_grad

    def gradient(self) -> Tensor:
        """[∇W ∇b], (d_out, d_in)."""
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]
        return as_matrix(self.module, gradients)

    def velocity(self) -> list[Tensor]:
        """The momentum in parts shaped as `parameters`."""
        assert self.momentum is not None
        parts = as_parameters(self.module, self.momentum)
        return [part.to(p.dtype) for part, p in zip(parts, self.parameters, strict=True)]

    def moved(self) -> float:
        """How far F̂ has moved since it was inverted: the largest relative change of its tensors; ∞ if not known."""
        if self.inverted is None or self.running.curvature is None:
            return math.inf
        now, past = self.running.curvature.tensors(), self.inverted
        changes = [
            torch.linalg.vector_norm(now[name] - past[name]) / torch.linalg.vector_norm(past[name]) for name in past
        ]
        return float(torch.stack(changes).nan_to_num(nan=0.0).max())


def by_name(
    names: list[list[str]], layers: Sequence[PreconditionedLayer], matrices: Sequence[Tensor]
) -> dict[str, Tensor]:
    """Matrices [W b] taken apart into tensors shaped as the parameters, by the parameters' names."""
    parts = {}
    for own, layer, matrix in zip(names, layers, matrices, strict=True):
        shaped = as_parameters(layer.module, matrix)
        parts.update({n: s.to(p.dtype) for n, s, p in zip(own, shaped, layer.parameters, strict=True)})
    return parts
