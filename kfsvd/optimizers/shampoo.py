"""Shampoo and its square (Gupta, Koren & Singer 2018; Morwani et al. 2024, arXiv 2406.17748).

Written here: pytorch-optimizer's Shampoo approximates its roots, sees a bias apart from its layer, and knows no square.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

import torch

from kfsvd.curvature.kronecker_sum import KroneckerSum
from kfsvd.inverse.damping import shares
from kfsvd.linalg.eigh import symmetric_eigh
from kfsvd.optimizers.matrices import MatrixOptimizer
from kfsvd.optimizers.scaling import AdamMoments
from kfsvd.options.intervals import Interval
from kfsvd.options.matrices import SHAMPOO, SHAMPOO_SQUARED, ShampooOptions

if TYPE_CHECKING:
    from torch import Tensor, nn

    from kfsvd.options.choices import Graft


class _Moments(MatrixOptimizer):
    """Steps preconditioned by powers of the running second moments L of G Gᵀ and R of GᵀG."""

    with_bias: ClassVar[bool] = True
    declares: ClassVar[type[Any]] = ShampooOptions
    in_group: ClassVar[tuple[str, ...]] = ("momentum", "damping")

    def __init__(self, model: nn.Module, likelihood: str | None = None, **options: Unpack[ShampooOptions]) -> None:
        super().__init__(model, likelihood, **options)
        self.inverse_every = Interval.of(self.options["inverse_every"])
        self.decay: float = self.options["decay"]
        self.step_rule: Graft = self.options["step_rule"]

    @abstractmethod
    def _roots(self, left: Tensor, right: Tensor, damping: float) -> tuple[Tensor, Tensor]:
        """What a gradient is multiplied with from the left (d_out, d_out) and from the right (d_in, d_in)."""

    def _step_of(self, gradient: Tensor, state: dict[str, Any]) -> Tensor:
        if not state:
            d_out, d_in = gradient.shape
            state["count"] = 0
            state["left"], state["right"] = gradient.new_zeros(d_out, d_out), gradient.new_zeros(d_in, d_in)
            state["momentum"] = torch.zeros_like(gradient)
        with self.phase("curvature"):
            state["left"].addmm_(gradient, gradient.mT, beta=self.decay, alpha=1 - self.decay or 1)
            state["right"].addmm_(gradient.mT, gradient, beta=self.decay, alpha=1 - self.decay or 1)
        if self.inverse_every.due(self._iteration) or "left_root" not in state:
            with self.phase("inversion"):
                damping = self.param_groups[0]["damping"]
                left, right = self._means(state, state["count"] + 1)
                state["left_root"], state["right_root"] = self._roots(left, right, damping)
        step = state["left_root"] @ gradient @ state["right_root"]
        state["count"] += 1
        state["momentum"].mul_(self.param_groups[0]["momentum"]).add_(self._grafted(step, gradient, state))
        momentum: Tensor = state["momentum"]
        return momentum

    def _means(self, state: dict[str, Any], count: int) -> tuple[Tensor, Tensor]:
        """The sums as they are, or running means without the bias of their start."""
        weight = 1 - self.decay**count if self.decay < 1 else 1.0
        return state["left"] / weight, state["right"] / weight

    def _grafted(self, step: Tensor, gradient: Tensor, state: dict[str, Any]) -> Tensor:
        """The step, as long as Adam's or the gradient where that is asked for."""
        if self.step_rule == "none":
            return step
        if self.step_rule == "sgd_norm":
            length = torch.linalg.vector_norm(gradient)
        else:
            if "mean" not in state:
                state["mean"], state["square"] = torch.zeros_like(gradient), torch.zeros_like(gradient)
            length = AdamMoments(state["mean"], state["square"], state["count"] - 1).length(gradient)
        own = torch.linalg.vector_norm(step)
        return step * torch.where(own > 0, length / own, 0)


class Shampoo(_Moments):
    """ΔW = (L + εI)^{-1/4} G (R + εI)^{-1/4}, L = Σ G Gᵀ and R = Σ GᵀG (Gupta, Koren & Singer 2018).

    A layer's bias is a column of its matrix. Roots are exact, by eigendecompositions.

    Args:
        model: as in `MatrixOptimizer`.
        likelihood: as in `MatrixOptimizer`.
        options: those of `kfsvd.options.matrices.ShampooOptions`. New roots are due at every step at first: early on,
            directions without any gradient yet are scaled by the damping only and can explode.

    Raises:
        ValueError: an option out of range, or as `MatrixOptimizer`.
        TypeError: as `MatrixOptimizer`.

    """

    published: ClassVar[ShampooOptions] = SHAMPOO

    def _roots(self, left: Tensor, right: Tensor, damping: float) -> tuple[Tensor, Tensor]:
        return _power(left, damping, -0.25), _power(right, damping, -0.25)


class ShampooSquared(_Moments):
    """ΔW = F̂^{-1/2} G, F̂ = E[GᵀG]⊗E[GGᵀ]/E[‖G‖²]: Shampoo with the exponents −1/2, of F's trace (Morwani et al. 2024).

    F̂ is one power step of KPSVD from identities on E[vec G vec Gᵀ] of whole batches' gradients G. λ enters it by
    factors, with KFAC's π.

    Args:
        model: as in `MatrixOptimizer`.
        likelihood: as in `MatrixOptimizer`.
        options: those of `kfsvd.options.matrices.ShampooOptions`. New roots are due at every step at first: early on,
            directions without any gradient yet are scaled by the damping only and can explode.

    Raises:
        ValueError: an option out of range, or as `MatrixOptimizer`.
        TypeError: as `MatrixOptimizer`.

    """

    published: ClassVar[ShampooOptions] = SHAMPOO_SQUARED

    def approximations(self) -> dict[str, KroneckerSum]:
        """Every layer's F̂, undamped; empty before the first step."""
        found = {}
        for name, module in self._modules.items():
            state = self.state.get(module.weight)
            if state:
                left, right = _normalised(*self._means(state, state["count"]))
                found[name] = KroneckerSum(((right, left),))
        return found

    def _roots(self, left: Tensor, right: Tensor, damping: float) -> tuple[Tensor, Tensor]:
        left, right = _normalised(left, right)
        share_right, share_left = shares(right, left, damping, None)
        return _power(left, share_left, -0.5), _power(right, share_right, -0.5)


def _normalised(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """L/√tr L and R/√tr L, whose Kronecker product has the trace of L, which is that of R; zeros where that is."""
    trace = left.trace()
    scale = trace.clamp(min=0).sqrt().reciprocal().where(trace > 0, 0)
    return left * scale, right * scale


def _power(matrix: Tensor, damping: float | Tensor, exponent: float) -> Tensor:
    """(M + εI)^p of a positive semidefinite matrix."""
    values, vectors = symmetric_eigh(matrix)
    return vectors * (values.clamp(min=0) + damping).pow(exponent) @ vectors.mT
