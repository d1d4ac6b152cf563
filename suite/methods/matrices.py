"""The methods of `kfsvd` that are made of gradients alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from suite.methods.base import Method
from suite.methods.kronecker import Interval

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


class Matrices(Method):
    """A `kfsvd` optimizer of matrix-shaped gradients; the options are the library's own, name for name."""

    essential: ClassVar[tuple[str, ...]] = ("lr",)

    lr: float = Field(default=1e-3, gt=0, description="step size")
    weight_decay: float = Field(default=0.0, ge=0, description="decoupled weight decay")
    fallback_lr: float = Field(default=1e-3, ge=0, description="AdamW's step size on what is no matrix")

    def build(self, network: nn.Module, likelihood: str, seed: int) -> Optimizer:
        """The optimizer class of that name, on `network`."""
        from kfsvd.optimizers import MATRIX_OPTIMIZERS

        return MATRIX_OPTIMIZERS[self.method](network, likelihood, **self.options())


class Shampoo(Matrices):
    """Inverse fourth roots of the gradients' second moments, rows and columns (Gupta, Koren & Singer 2018)."""

    essential: ClassVar[tuple[str, ...]] = ("lr", "damping")

    method: Literal["shampoo"]
    lr: float = Field(default=0.1, gt=0, description="step size; of the norm that is grafted, where one is")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="heavy ball on the preconditioned step")
    damping: float = Field(default=1e-4, gt=0, description="ε added to the moments, in squared units of a gradient")
    decay: float = Field(default=1.0, ge=0, le=1, description="weight of the past in the moments; 1 for sums")
    inverse_every: Interval = Field(
        default="1, 10 from 50", description="steps between new roots, or a schedule such as 10, 100 from 500"
    )
    step_rule: Literal["none", "adam_norm", "sgd_norm"] = Field(
        default="none", description="a length that the step is given (grafting)"
    )


class ShampooSquared(Shampoo):
    """Inverse square roots of the same moments, of their own trace: one power step of KPSVD (Morwani et al. 2024)."""

    method: Literal["shampoo_squared"]  # type: ignore[assignment]
    lr: float = Field(default=1e-3, gt=0, description="step size; of the norm that is grafted, where one is")
    damping: float = Field(default=1e-4, gt=0, description="λ of F̂ + λI, in squared units of a gradient")
    decay: float = Field(default=0.95, ge=0, le=1, description="weight of the past in the moments; 1 for sums")


class SWAN(Matrices):
    """Gradients normalised by rows and whitened, without state (Ma et al. 2024); biases by AdamW."""

    method: Literal["swan"]
    whitening_steps: int = Field(default=10, ge=1, description="of the Newton-Schulz iteration")


class SOAP(Matrices):
    """Adam in Shampoo's eigenbasis (Vyas et al. 2024); biases by AdamW."""

    method: Literal["soap"]
    lr: float = Field(default=3e-3, gt=0, description="step size")
    beta1: float = Field(default=0.95, ge=0, lt=1, description="decay of the gradient's running mean")
    beta2: float = Field(default=0.95, ge=0, lt=1, description="decay of the squared gradient's running mean")
    decay: float | None = Field(default=None, ge=0, lt=1, description="decay of the moments; beta2 if not given")
    eps: float = Field(default=1e-8, gt=0, description="added to the denominator")
    refresh_every: int = Field(default=10, ge=1, description="steps between new bases")


class Muon(Matrices):
    """Momentum, orthogonalised (Jordan et al. 2024), by torch's own `torch.optim.Muon`; biases by AdamW."""

    method: Literal["muon"]
    lr: float = Field(default=0.02, gt=0, description="step size")
    momentum: float = Field(default=0.95, ge=0, lt=1, description="decay of the gradient's running mean")
    nesterov: bool = Field(default=True, description="whether the gradient is looked ahead with")
    iterations: int = Field(default=5, ge=1, le=99, description="Newton-Schulz steps")
    scale: Literal["original", "match_rms_adamw"] = Field(
        default="original", description="of a step by its shape: √max(1, rows/columns), or as long as Adam's"
    )
    hidden_only: bool = Field(default=False, description="whether AdamW takes the first and last layer's weight too")
