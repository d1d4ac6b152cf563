"""EKFAC: the exact diagonal of F in a Kronecker eigenbasis (George et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from kfsvd.approximations.base import Approximation
from kfsvd.approximations.kfac import KFAC
from kfsvd.approximations.kpsvd import KPSVD
from kfsvd.options.choices import Basis, Solver
from kfsvd.options.declare import Option

if TYPE_CHECKING:
    from kfsvd.curvature.base import Curvature
    from kfsvd.curvature.eigenbasis import KroneckerEigenbasis
    from kfsvd.curvature.kronecker_sum import KroneckerSum
    from kfsvd.network.samples import LayerSamples
    from kfsvd.options.choices import DampingRule


@dataclass(frozen=True)
class EKFAC(Approximation):
    """F̂ = U diag(s) Uᵀ, U = U_in ⊗ U_out the eigenvectors of a Kronecker product, s = E[(U_outᵀ G U_in)∘²].

    Args:
        basis: whose eigenvectors: those of KFAC's factors (as published), or of KPSVD's.
        solver: of KPSVD's fit.

    Raises:
        ValueError: no basis has that name.

    """

    name = "ekfac"
    basis: Annotated[Basis, Option("whose eigenvectors are the basis")] = "kfac"
    solver: Annotated[Solver, Option("how KPSVD's basis is found")] = "auto"

    @property
    def products(self) -> None:
        """F̂ is no sum of Kronecker products."""

    @property
    def damping_rules(self) -> tuple[DampingRule, ...]:
        """λ is added to the diagonal."""
        return ("exact",)

    def fit(self, samples: LayerSamples) -> KroneckerEigenbasis:
        """The product's eigenvectors, and the diagonal of F in them."""
        from kfsvd.curvature.eigenbasis import KroneckerEigenbasis

        return KroneckerEigenbasis.of(self._product(samples), samples)

    def average(self, past: Curvature, samples: LayerSamples, rho: float) -> KroneckerEigenbasis:
        """The basis of the averaged factors, and in it the exact diagonal of ρ F̂_past + (1 − ρ) F_new."""
        from kfsvd.curvature.eigenbasis import KroneckerEigenbasis

        assert isinstance(past, KroneckerEigenbasis)
        new = KroneckerEigenbasis.of(past.factors.average(self._product(samples), rho), samples)
        scales = past.diagonal_in(new.basis_in, new.basis_out).lerp(new.scales, 1 - rho)
        return KroneckerEigenbasis(new.factors, new.basis_in, new.basis_out, scales)

    def _product(self, samples: LayerSamples) -> KroneckerSum:
        """The single Kronecker product whose eigenvectors are the basis."""
        return (KFAC() if self.basis == "kfac" else KPSVD(solver=self.solver)).fit(samples)

    @property
    def curvature(self) -> type[KroneckerEigenbasis]:
        """The form of its F̂."""
        from kfsvd.curvature.eigenbasis import KroneckerEigenbasis

        return KroneckerEigenbasis
