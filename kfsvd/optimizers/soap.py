"""SOAP: Adam in Shampoo's eigenbasis (Vyas et al. 2024, arXiv 2409.11321).

Written here: pytorch-optimizer's turns its basis in float32 whatever the weights' dtype, and takes NaN into the
weights. The tests hold this one against it, step by step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Unpack

import torch

from kfsvd.linalg.eigh import symmetric_eigh
from kfsvd.optimizers.matrices import MatrixOptimizer
from kfsvd.options.matrices import SOAP as PUBLISHED
from kfsvd.options.matrices import MatrixOptions, SOAPOptions

if TYPE_CHECKING:
    from torch import Tensor, nn


class SOAP(MatrixOptimizer):
    """ΔW = Q_L [(Q_LᵀMQ_R) ⊘ (√V + ε)] Q_Rᵀ: M the mean gradient, V that of (Q_LᵀGQ_R)∘², Q of Shampoo's L and R.

    The bases are eigenvectors at first, and then turned by one power step and QR every `refresh_every` steps. The first
    gradient only makes the bases; nothing is moved by it, as published (Vyas et al. 2024). Biases are updated by AdamW.

    Args:
        model: as in `MatrixOptimizer`.
        likelihood: as in `MatrixOptimizer`.
        options: `lr` η; `beta1` and `beta2`, the decays of M and V; `decay` of L and R, `beta2` if None; `eps`;
            `weight_decay`; `refresh_every` steps a new basis; `fallback_lr` of AdamW on biases and all else.

    Raises:
        ValueError: an option out of range, or as `MatrixOptimizer`.
        TypeError: as `MatrixOptimizer`.

    """

    declares: ClassVar[type[Any]] = SOAPOptions
    published: ClassVar[MatrixOptions] = PUBLISHED

    def __init__(self, model: nn.Module, likelihood: str | None = None, **options: Unpack[SOAPOptions]) -> None:
        super().__init__(model, likelihood, **options)
        self.beta1, self.beta2, self.eps = (float(self.options[name]) for name in ("beta1", "beta2", "eps"))
        self.decay: float = self.beta2 if self.options["decay"] is None else self.options["decay"]
        self.refresh_every: int = self.options["refresh_every"]

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
