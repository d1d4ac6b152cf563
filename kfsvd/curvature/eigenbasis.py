"""A diagonal in a Kronecker eigenbasis: the form of EKFAC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from kfsvd.curvature.base import Curvature
from kfsvd.curvature.kronecker_sum import KroneckerSum
from kfsvd.inverse.damped import DampedInverse, SpectralInverse
from kfsvd.inverse.damping import check_choices
from kfsvd.linalg.eigh import symmetric_eigh

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from torch import Tensor

    from kfsvd.network.samples import LayerSamples
    from kfsvd.options.choices import DampingRule, Guard


@dataclass(frozen=True, eq=False)
class KroneckerEigenbasis(Curvature):
    """F̂ = (U_in ⊗ U_out) diag(vec s) (U_in ⊗ U_out)ᵀ (George et al. 2018).

    Args:
        factors: the single Kronecker product A⊗B whose eigenvectors are the basis.
        basis_in: U_in (d_in, d_in), the eigenvectors of A in columns.
        basis_out: U_out (d_out, d_out), those of B.
        scales: s (d_out, d_in), non-negative.

    """

    factors: KroneckerSum
    basis_in: Tensor
    basis_out: Tensor
    scales: Tensor

    @classmethod
    def of(cls, factors: KroneckerSum, samples: LayerSamples) -> Self:
        """The exact diagonal of the samples' Fisher block in the eigenbasis of A⊗B: s = E[(U_outᵀ G_n U_in)∘²].

        Of all diagonals in that basis it is the nearest to F (George et al. 2018).

        Args:
            factors: a single Kronecker product A⊗B.
            samples: of a layer of the same shape.

        """
        a, b = factors.terms[0]
        basis_in, basis_out = symmetric_eigh(a)[1], symmetric_eigh(b)[1]
        return cls(factors, basis_in, basis_out, samples.second_moment(basis_in, basis_out))

    @property
    def shape(self) -> tuple[int, int]:
        """(d_out, d_in)."""
        return self.scales.shape[0], self.scales.shape[1]

    @property
    def rank(self) -> None:
        """It is no sum of a few Kronecker products."""

    def dense(self) -> Tensor:
        """(U_in ⊗ U_out) diag(vec s) (U_in ⊗ U_out)ᵀ."""
        basis = torch.kron(self.basis_in, self.basis_out)
        return (basis * self.scales.mT.flatten()) @ basis.mT

    def apply(self, gradient: Tensor) -> Tensor:
        """U_out [(U_outᵀ V U_in) ∘ s] U_inᵀ."""
        rotated = self.basis_out.mT @ gradient @ self.basis_in
        return self.basis_out @ (rotated * self.scales) @ self.basis_in.mT

    def norm(self) -> Tensor:
        """‖s‖."""
        return self.scales.double().square().sum().sqrt()

    def fisher_inner(self, samples: LayerSamples) -> Tensor:
        """⟨F, F̂⟩ = ⟨diag of F in the basis, s⟩."""
        diagonal = samples.double().second_moment(self.basis_in.double(), self.basis_out.double())
        return (diagonal * self.scales.double()).sum()

    def leading_eigenvalues(self, count: int, weights: Tensor | None = None) -> Tensor:
        """The largest of s."""
        scales = self.scales.double().flatten()
        return scales.topk(min(count, len(scales))).values

    def inverse(
        self, damping: float, *, rule: DampingRule = "exact", guard: Guard = "floor", pi: float = 1.0
    ) -> DampedInverse:
        """V ↦ U_out [(U_outᵀ V U_in) ⊘ (s + λ)] U_inᵀ.

        Raises:
            ValueError: λ is not positive, or the rule is one of factors, which this form has none to damp of.

        """
        check_choices(damping, rule, guard)
        if rule != "exact":
            raise ValueError(f"a diagonal in an eigenbasis takes the damping rule 'exact' alone; got {rule!r}")
        return SpectralInverse(self.basis_in, self.basis_out, (self.scales + damping).reciprocal())

    def diagonal_in(self, basis_in: Tensor, basis_out: Tensor) -> Tensor:
        """Diag F̂ in another basis: (V_outᵀU_out)∘² s ((V_inᵀU_in)∘²)ᵀ, (d_out, d_in).

        Args:
            basis_in: V_in (d_in, d_in), orthonormal columns.
            basis_out: V_out (d_out, d_out), likewise.

        """
        turned_in, turned_out = basis_in.mT @ self.basis_in, basis_out.mT @ self.basis_out
        return turned_out.square() @ self.scales @ turned_in.square().mT

    def tensors(self) -> dict[str, Tensor]:
        """The product's factors, both bases and s."""
        own = {"basis_in": self.basis_in, "basis_out": self.basis_out, "scales": self.scales}
        return {**self.factors.tensors(), **own}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """Of what `tensors` gave."""
        factors = KroneckerSum.from_tensors({name: tensors[name] for name in ("a0", "b0")})
        return cls(factors, tensors["basis_in"], tensors["basis_out"], tensors["scales"])
