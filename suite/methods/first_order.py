"""The first-order baselines, straight from torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from suite.methods.base import Method

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


class SGD(Method):
    """Stochastic gradient descent with heavy-ball momentum (`torch.optim.SGD`), Polyak's or Nesterov's.

    v ← μv + ∇h + wθ, θ ← θ − lr·v, with momentum μ and weight decay w (Polyak 1964); with
    Nesterov's momentum θ ← θ − lr·(∇h + wθ + μv).
    """

    newer: ClassVar[tuple[str, ...]] = ("batch_size", "nesterov")

    method: Literal["sgd"]
    lr: float = Field(gt=0, description="step size")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="heavy-ball factor")
    weight_decay: float = Field(default=0.0, ge=0, description="L2 penalty, added to the gradient")
    nesterov: bool = Field(default=False, description="whether the step looks one ahead (Nesterov 1983)")

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")
        return self

    def build(self, network: nn.Module, likelihood: str, seed: int) -> Optimizer:
        """`torch.optim.SGD` on all parameters of `network`."""
        import torch

        return torch.optim.SGD(network.parameters(), **self.options())


class Adam(Method):
    """Adam (Kingma & Ba 2015) with decoupled weight decay (`torch.optim.AdamW`); plain Adam at zero decay.

    m ← β₁m + (1 − β₁)∇h, s ← β₂s + (1 − β₂)∇h², θ ← (1 − lr·w)θ − lr·m̂/(√ŝ + ε), m̂ = m/(1 − β₁ᵗ), ŝ = s/(1 − β₂ᵗ) at
    step t, with weight decay w (Loshchilov & Hutter 2019).
    """

    method: Literal["adam"]
    lr: float = Field(default=1e-3, gt=0, description="step size")
    beta1: float = Field(default=0.9, ge=0, lt=1, description="decay of the gradient's running mean")
    beta2: float = Field(default=0.999, ge=0, lt=1, description="decay of the squared gradient's running mean")
    eps: float = Field(default=1e-8, gt=0, description="added to the denominator")
    weight_decay: float = Field(default=0.0, ge=0, description="decoupled weight decay")

    def build(self, network: nn.Module, likelihood: str, seed: int) -> Optimizer:
        """`torch.optim.AdamW`, or `torch.optim.Adam` where there is no decay to decouple."""
        import torch

        kind = torch.optim.AdamW if self.weight_decay else torch.optim.Adam
        return kind(
            network.parameters(),
            lr=self.lr,
            betas=(self.beta1, self.beta2),
            eps=self.eps,
            weight_decay=self.weight_decay,
        )
