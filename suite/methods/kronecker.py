"""The natural-gradient methods of `kfsvd` whose curvature is a sum of Kronecker products."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from suite.methods.base import Method

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


class Kronecker(Method):
    """A `kfsvd` natural-gradient optimizer; the options are the library's own, name for name."""

    lr: float = Field(default=0.1, gt=0, description="step size")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="heavy-ball factor")
    weight_decay: float = Field(default=0.0, ge=0, description="decoupled weight decay")
    damping: float = Field(default=0.1, gt=0, description="λ of F + λI, in squared nats per parameter")
    damping_rule: Literal["factored", "factored_pi", "exact"] = Field(
        default="factored_pi", description="how λ is split over the factors"
    )
    refresh_every: int = Field(default=10, ge=1, description="iterations between curvature refreshes")
    statistics_every: int | None = Field(
        default=None, ge=1, description="iterations between new curvature batches; refresh_every if not given"
    )
    inverse_every: int | None = Field(
        default=None, ge=1, description="iterations between new inverses; refresh_every if not given"
    )
    curvature_batch: float = Field(
        default=0.25,
        gt=0,
        description="examples of a curvature batch: a share of the batch up to 1, else a number",
    )
    decay: float = Field(default=0.95, ge=0, lt=1, description="largest weight of the past in the running average")
    guard: Literal["floor", "absolute", "raise"] = Field(
        default="floor", description="what is done where a rank-2 sum is not positive definite"
    )
    step_rule: Literal["kl_clip", "none"] = Field(default="kl_clip", description="how the step is scaled")
    kl_clip: float = Field(default=0.01, gt=0, description="c of the KL clip, in nats")
    fallback_lr: float = Field(default=1e-3, ge=0, description="Adam's step size on all but linear layers")

    def build(self, network: nn.Module, likelihood: str, seed: int) -> Optimizer:
        """The optimizer class of that approximation, on `network`."""
        from kfsvd.optimizers import OPTIMIZERS

        return OPTIMIZERS[self.method](network, likelihood=likelihood, seed=seed, **self.options())


class KFAC(Kronecker):
    """F̂ = E[aaᵀ]⊗E[ggᵀ] (Martens & Grosse 2015)."""

    method: Literal["kfac"]


class KPSVD(Kronecker):
    """F̂ = R⊗S, the best single Kronecker product (Koroko et al. 2022)."""

    method: Literal["kpsvd"]


class Deflation(Kronecker):
    """The best two Kronecker products, one after the other (Koroko et al. 2022)."""

    method: Literal["deflation"]


class Lanczos(Kronecker):
    """The best two Kronecker products, jointly (Koroko et al. 2022)."""

    method: Literal["lanczos"]


class KFACCorrected(Kronecker):
    """KFAC plus the best Kronecker product for what it leaves (Koroko et al. 2022)."""

    method: Literal["kfac_corrected"]


class TKFAC(Kronecker):
    """A single Kronecker product of the Fisher matrix's own trace (Gao et al. 2021)."""

    method: Literal["tkfac"]
