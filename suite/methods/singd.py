"""SINGD, by its authors' own library: well kept and tested, with structures that nothing else has."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from suite.errors import SuiteError
from suite.methods.base import Method

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


class SINGD(Method):
    """Inverse-free natural gradient with structured factors (Lin et al. 2023, 2024), by the package `singd`.

    F̂⁻¹ = KKᵀ⊗CCᵀ with K and C themselves learned. It trains linear layers and convolutions alone, and keeps the
    empirical Fisher matrix of the training batches.
    """

    essential: ClassVar[tuple[str, ...]] = ("lr", "damping", "lr_cov")

    method: Literal["singd"]
    lr: float = Field(default=1e-3, gt=0, description="step size")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="heavy-ball factor")
    weight_decay: float = Field(default=0.0, ge=0, description="decoupled weight decay")
    damping: float = Field(default=1e-3, gt=0, description="λ of the factors' updates")
    lr_cov: float = Field(default=1e-2, gt=0, description="step size of the factors")
    alpha1: float = Field(default=0.5, ge=0, lt=1, description="momentum of the factors; none with kfac_like")
    refresh_every: int = Field(default=10, ge=1, description="iterations between updates of the factors")
    structure: Literal["dense", "diagonal", "block30diagonal", "hierarchical15_15", "triltoeplitz", "triutoeplitz"] = (
        Field(default="dense", description="of both factors; dense is INGD")
    )
    kfac_like: bool = Field(default=False, description="whether the update is KFAC's to first order (IKFAC)")
    normalize_lr_cov: bool = Field(default=False, description="whether lr_cov is an upper bound, by the update's norm")

    def build(self, network: nn.Module, likelihood: str, seed: int) -> Optimizer:
        """`singd.optim.optimizer.SINGD` on `network`.

        Raises:
            SuiteError: the package is not installed.

        """
        try:
            from singd.optim.optimizer import SINGD as Library  # noqa: N811 - the class here has its name
        except ImportError:
            raise SuiteError("the method singd needs the package singd: pip install 'kfsvd-bench[family]'") from None
        optimizer: Optimizer = Library(
            network,
            lr=self.lr,
            momentum=self.momentum,
            damping=self.damping,
            alpha1=0.0 if self.kfac_like else self.alpha1,
            weight_decay=self.weight_decay,
            T=self.refresh_every,
            lr_cov=self.lr_cov,
            structures=(self.structure, self.structure),
            kfac_like=self.kfac_like,
            normalize_lr_cov=self.normalize_lr_cov,
        )
        return optimizer
