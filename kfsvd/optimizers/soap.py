"""SOAP: Adam in Shampoo's eigenbasis (Vyas et al. 2024, arXiv 2409.11321).

Written here: pytorch-optimizer's turns its basis in float32 whatever the weights' dtype, and takes NaN into the
weights. The tests hold this one against it, step by step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from kfsvd.linalg.eigh import symmetric_eigh
from kfsvd.optimizers.matrices import MatrixOptimizer

if TYPE_CHECKING:
    from torch import Tensor, nn


class SOAP(MatrixOptimizer):
    """ΔW = Q_L [(Q_LᵀMQ_R) ⊘ (√V + ε)] Q_Rᵀ: M the mean gradient, V that of (Q_LᵀGQ_R)∘², Q of Shampoo's L and R.

    The bases are eigenvectors at first, and then turned by one power step and QR every `refresh_every` steps. The first
    gradient only makes the bases; nothing is moved by it, as published (Vyas et al. 2024). Biases are updated by AdamW.

    Args:
        model: as in `MatrixOptimizer`.
        likelihood: as in `MatrixOptimizer`.
        lr: η, the step size.
        beta1: decay of the gradient's running mean M.
        beta2: decay of the running mean V of its square in the basis.
        decay: decay of L and R; `beta2` if None.
        eps: added to the denominator.
        weight_decay: w, decoupled.
        refresh_every: steps between new bases.
        fallback_lr: AdamW's step size on biases and all else.

    Raises:
        ValueError: an option out of range, or as `MatrixOptimizer`.
        TypeError: as `MatrixOptimizer`.

    """

    def __init__(
        self,
        model: nn.Module,
        likelihood: str | None = None,
        *,
        lr: float = 3e-3,
        beta1: float = 0.95,
        beta2: float = 0.95,
        decay: float | None = None,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        refresh_every: int = 10,
        fallback_lr: float = 1e-3,
    ) -> None:
        for name, value in (("beta1", beta1), ("beta2", beta2), ("decay", decay)):
            if value is not None and not 0 <= value < 1:
                raise ValueError(f"invalid {name}: {value}")
        if not eps > 0:
            raise ValueError(f"invalid eps: {eps}")
        if refresh_every < 1:
            raise ValueError(f"refresh_every must be at least 1; got {refresh_every}")
        self.beta1, self.beta2, self.eps = beta1, beta2, eps
        self.decay, self.refresh_every = beta2 if decay is None else decay, refresh_every
        super().__init__(model, likelihood, lr=lr, weight_decay=weight_decay, fallback_lr=fallback_lr)

    def _step_of(self, gradient: Tensor, state: dict[str, Any]) -> Tensor:
        if not state:
            d_out, d_in = gradient.shape
            state["count"] = 0
            state["left"], state["right"] = gradient.new_zeros(d_out, d_out), gradient.new_zeros(d_in, d_in)
            state["mean"], state["square"] = torch.zeros_like(gradient), torch.zeros_like(gradient)
            self._take_in(gradient, state)
            with self.phase("inversion"):
                for side in ("left", "right"):
                    state[f"{side}_basis"] = symmetric_eigh(state[side])[1].flip(1)
            return torch.zeros_like(gradient)
        state["count"] += 1
        left, right = state["left_basis"], state["right_basis"]
        rotated = left.mT @ gradient @ right
        state["mean"].lerp_(gradient, 1 - self.beta1)
        state["square"].lerp_(rotated.square(), 1 - self.beta2)
        first, second = 1 - self.beta1 ** state["count"], 1 - self.beta2 ** state["count"]
        scaled = (left.mT @ state["mean"] @ right) / (state["square"].sqrt() + self.eps) * (second**0.5 / first)
        step: Tensor = left @ scaled @ right.mT
        self._take_in(gradient, state)
        if state["count"] % self.refresh_every == 0:
            with self.phase("inversion"):
                for dimension, side in enumerate(("left", "right")):
                    self._turn(state, side, dimension)
        return step

    def _take_in(self, gradient: Tensor, state: dict[str, Any]) -> None:
        with self.phase("curvature"):
            state["left"].addmm_(gradient, gradient.mT, beta=self.decay, alpha=1 - self.decay)
            state["right"].addmm_(gradient.mT, gradient, beta=self.decay, alpha=1 - self.decay)

    def _turn(self, state: dict[str, Any], side: str, dimension: int) -> None:
        """One power step and QR from the basis at hand, its vectors sorted by their quotients, and V with them."""
        moment, basis = state[side], state[f"{side}_basis"]
        image = moment @ basis
        order = (basis * image).sum(0).argsort(descending=True)
        state["square"] = state["square"].index_select(dimension, order)
        state[f"{side}_basis"] = torch.linalg.qr(image.index_select(1, order))[0]
