"""The natural-gradient methods of `kfsvd` whose curvature is a sum of Kronecker products."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from suite.methods.base import Method

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


def _schedule(value: str) -> str:
    from kfsvd.optimizers.intervals import Interval

    Interval.of(value)
    return value


Interval = Annotated[int, Field(ge=1)] | Annotated[str, AfterValidator(_schedule)]


class Kronecker(Method):
    """A `kfsvd` natural-gradient optimizer; the options are the library's own, name for name."""

    essential: ClassVar[tuple[str, ...]] = ("lr", "damping")

    lr: float | None = Field(
        default=None, gt=0, description="step size; if not given, 1 for quadratic_model, 1e-3 for the norms, 0.3 else"
    )
    momentum: float = Field(default=0.9, ge=0, lt=1, description="heavy-ball factor")
    weight_decay: float = Field(default=0.0, ge=0, description="decoupled weight decay")
    damping: float = Field(default=0.1, gt=0, description="λ of F + λI, in squared nats per parameter")
    damping_rule: Literal["factored", "factored_pi", "exact"] | None = Field(
        default=None, description="how λ enters; if not given, factored_pi, or exact where there are no factors"
    )
    damping_pi: float = Field(default=1.0, gt=0, description="the constant π of the rule factored")
    damping_floor: float = Field(default=0.01, gt=0, description="least λ that the quadratic model adapts to")
    inverse: Literal["dense", "low_rank"] = Field(
        default="dense", description="of each factor, or of the few directions that stand out of the damping"
    )
    inverse_tolerance: float | None = Field(
        default=None, gt=0, description="bound of a low-rank inverse's relative error; 5 if not given, for two terms 40"
    )
    refresh_every: Interval = Field(
        default=10, description="iterations between curvature refreshes, or a schedule such as 10, 100 from 500"
    )
    statistics_every: Interval | None = Field(
        default=None, description="iterations between new curvature batches; refresh_every if not given"
    )
    inverse_every: Interval | None = Field(
        default=None, description="iterations between new inverses; refresh_every if not given"
    )
    refresh_tolerance: float = Field(
        default=0.0, ge=0, description="relative change of a layer's curvature up to which it keeps its inverse"
    )
    curvature_batch: float = Field(
        default=0.25,
        gt=0,
        description="examples of a curvature batch: a share of the batch up to 1, else a number",
    )
    fisher: Literal["monte_carlo", "exact", "empirical"] = Field(
        default="monte_carlo", description="labels for the curvature: sampled, all of them, or the data's own"
    )
    fisher_samples: int = Field(default=1, ge=1, description="sampled labels of an example")
    averaging: Literal["factors", "stream", "samples"] = Field(
        default="factors", description="how the curvature is averaged over refreshes"
    )
    decay: float = Field(default=0.95, ge=0, lt=1, description="largest weight of the past in the running average")
    guard: Literal["floor", "absolute", "raise"] = Field(
        default="floor", description="what is done where a rank-2 sum is not positive definite"
    )
    step_rule: Literal["kl_clip", "quadratic_model", "adam_norm", "sgd_norm", "none"] = Field(
        default="kl_clip", description="how the step is scaled"
    )
    kl_clip: float = Field(default=0.1, gt=0, description="c of the KL clip, in nats")
    fallback_lr: float = Field(
        default=1e-3, ge=0, description="Adam's step size on all but linear layers and convolutions"
    )

    def build(self, network: nn.Module, likelihood: str, seed: int) -> Optimizer:
        """The optimizer class of that approximation, on `network`."""
        from kfsvd.optimizers import OPTIMIZERS

        return OPTIMIZERS[self.method](network, likelihood=likelihood, seed=seed, **self.options())


class KFAC(Kronecker):
    """F̂ = E[aaᵀ]⊗E[ggᵀ] (Martens & Grosse 2015)."""

    method: Literal["kfac"]


class SingularPairs(Kronecker):
    """A method made of singular pairs of the rearranged Fisher matrix."""

    rank: int = Field(default=2, ge=1, description="Kronecker products; above 2 with the damping rule exact alone")
    solver: Literal["auto", "gram", "matrix_free"] = Field(default="auto", description="how the pairs are found")


class KPSVD(SingularPairs):
    """F̂ = R⊗S, the best single Kronecker product (Koroko et al. 2022)."""

    method: Literal["kpsvd"]
    rank: int = Field(default=1, ge=1, description="Kronecker products; above 2 with the damping rule exact alone")


class Deflation(SingularPairs):
    """The best two Kronecker products, one after the other (Koroko et al. 2022)."""

    method: Literal["deflation"]


class Lanczos(SingularPairs):
    """The best two Kronecker products, jointly (Koroko et al. 2022)."""

    method: Literal["lanczos"]


class KFACCorrected(SingularPairs):
    """KFAC plus the best Kronecker product for what it leaves (Koroko et al. 2022)."""

    method: Literal["kfac_corrected"]


class TKFAC(Kronecker):
    """A single Kronecker product of the Fisher matrix's own trace (Gao et al. 2021)."""

    method: Literal["tkfac"]


class EKFAC(Kronecker):
    """The exact diagonal of the Fisher matrix in a Kronecker eigenbasis (George et al. 2018)."""

    method: Literal["ekfac"]
    inverse: Literal["dense"] = Field(default="dense", description="its own diagonal's: there are no factors to cut")
    basis: Literal["kfac", "kpsvd"] = Field(default="kfac", description="whose eigenvectors are the basis")
    solver: Literal["auto", "gram", "matrix_free"] = Field(default="auto", description="how KPSVD's basis is found")


class Exact(Kronecker):
    """The exact natural gradient of the sampled Fisher matrix, by Woodbury's identity."""

    method: Literal["exact"]
    blocks: Literal["network", "layers"] = Field(
        default="network", description="the whole Fisher matrix, or its diagonal blocks"
    )
    curvature_batch: float = Field(
        default=1.0, gt=0, description="examples of a curvature batch: a share of the batch up to 1, else a number"
    )
    inverse: Literal["dense"] = Field(default="dense", description="Woodbury's: there are no factors to cut")
    averaging: Literal["samples"] = Field(default="samples", description="the samples themselves are averaged")
    decay: float = Field(default=0.0, ge=0, lt=1, description="largest weight of the past; 0 keeps the newest batch")


class FOOF(Kronecker):
    """The inputs' second moment alone, F̂ = E[aaᵀ]⊗I: gradient descent on neurons (Benzing 2022)."""

    method: Literal["foof"]
    inverse: Literal["dense"] = Field(default="dense", description="the inputs' factor alone")


class TNT(Kronecker):
    """Tensor-normal training: one Kronecker product from gradients of whole batches (Ren & Goldfarb 2021)."""

    method: Literal["tnt"]


class Eva(Kronecker):
    """A curvature of rank one from running means of inputs and gradients (Zhang, Shi & Li 2023)."""

    method: Literal["eva"]
    inverse: Literal["dense"] = Field(
        default="dense", description="by Sherman and Morrison: there are no factors to cut"
    )
    lr: float | None = Field(
        default=None, gt=0, description="step size; if not given, 1 for quadratic_model, 1e-3 for the norms, 0.1 else"
    )
    damping: float = Field(default=0.03, gt=0, description="λ of F + λI, in squared nats per parameter")
    refresh_every: Interval = Field(
        default=1, description="iterations between new means, or a schedule such as 10, 100 from 500"
    )
    curvature_batch: float = Field(
        default=1.0, gt=0, description="examples of the means: a share of the batch up to 1, else a number"
    )
    fisher: Literal["monte_carlo", "exact", "empirical"] = Field(
        default="empirical", description="labels for the means: sampled, all of them, or the data's own"
    )
    decay: float = Field(default=0.05, ge=0, lt=1, description="largest weight of the past in the running means")


class TwoLevelKFAC(Kronecker):
    """KFAC with a coarse correction across layers (Koroko et al. 2023)."""

    method: Literal["two_level_kfac"]
    coarse: Literal["nicolaides", "residual", "spectral", "krylov"] = Field(
        default="krylov", description="the coarse space"
    )
    coarse_vectors: int = Field(
        default=1, ge=1, description="of a layer in the coarse space; above 1 with spectral and krylov alone"
    )


class KBFGS(Kronecker):
    """Kronecker-factored BFGS: both factors' inverses learned from vectors alone (Goldfarb, Ren & Bahamou 2020)."""

    method: Literal["kbfgs"]
    inverse: Literal["dense"] = Field(default="dense", description="learned, not decomposed")
    refresh_every: Interval = Field(
        default=1, description="iterations between updates of the factors, or a schedule such as 10, 100 from 500"
    )
    curvature_batch: float = Field(
        default=1.0, gt=0, description="examples of an update: a share of the batch up to 1, else a number"
    )
    fisher: Literal["empirical"] = Field(default="empirical", description="the data's own labels, the only ones")
    decay: float = Field(default=0.9, ge=0, lt=1, description="largest weight of the past in the inputs' moment")
