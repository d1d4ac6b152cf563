"""A sum of Kronecker products: the form of every curvature approximation here.

Conventions. A gradient V is (d_out, d_in) and vec stacks its columns, so (A⊗B) vec(V) = vec(B V Aᵀ): the first factor
of a term acts on a layer's inputs, the second on its outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from kfsvd.inverse import DampedInverse, DampingRule, Guard, damped_inverse

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class KroneckerSum:
    """F̂ = Σ_i A_i ⊗ B_i with symmetric factors.

    Args:
        terms: pairs (A_i, B_i), A_i (d_in, d_in), B_i (d_out, d_out), the leading one positive semidefinite.

    Raises:
        ValueError: no terms, or factors whose shapes do not agree.

    """

    terms: tuple[tuple[Tensor, Tensor], ...]

    def __post_init__(self) -> None:
        if not self.terms:
            raise ValueError("a Kronecker sum needs at least one term")
        shapes = {(tuple(a.shape), tuple(b.shape)) for a, b in self.terms}
        if len(shapes) > 1 or any(len(s) != 2 or s[0] != s[1] for s in next(iter(shapes))):
            raise ValueError(f"the factors of all terms must be square and of equal shapes; got {sorted(shapes)}")

    @property
    def rank(self) -> int:
        """The number of Kronecker terms."""
        return len(self.terms)

    def dense(self) -> Tensor:
        """Σ A_i ⊗ B_i as one (d_in·d_out, d_in·d_out) matrix, for tests and tiny layers."""
        return torch.stack([torch.kron(a, b) for a, b in self.terms]).sum(0)

    def apply(self, gradient: Tensor) -> Tensor:
        """F̂ V = Σ B_i V A_i of V (d_out, d_in)."""
        return torch.stack([b @ gradient @ a.mT for a, b in self.terms]).sum(0)

    def inner(self, other: KroneckerSum) -> Tensor:
        """⟨F̂, other⟩ = Σ_ij ⟨A_i, A_j⟩⟨B_i, B_j⟩, a float64 scalar."""
        products = [
            (a.double() * c.double()).sum() * (b.double() * d.double()).sum()
            for a, b in self.terms
            for c, d in other.terms
        ]
        return torch.stack(products).sum()

    def norm(self) -> Tensor:
        """‖F̂‖_F, a float64 scalar."""
        return self.inner(self).clamp(min=0).sqrt()

    def inverse(self, damping: float, *, rule: DampingRule = "factored_pi", guard: Guard = "floor") -> DampedInverse:
        """A damped inverse, prepared once to be applied to many gradients; see `kfsvd.inverse`."""
        return damped_inverse(self.terms, damping, rule=rule, guard=guard)

    def solve(self, gradient: Tensor, damping: float, *, rule: DampingRule = "exact", guard: Guard = "floor") -> Tensor:
        """(F̂ + λI)⁻¹ V of V (d_out, d_in), λ = `damping`; see `kfsvd.inverse` for the rules and the guard.

        Raises:
            ValueError: the gradient's shape does not fit, λ is not positive, or a choice is unknown.
            IndefiniteError: F̂ + λI is not positive definite and the guard is `raise`.

        """
        a, b = self.terms[0]
        if gradient.shape != (len(b), len(a)):
            raise ValueError(f"gradient must be (d_out, d_in) = {(len(b), len(a))}; got {tuple(gradient.shape)}")
        return self.inverse(damping, rule=rule, guard=guard)(gradient)
