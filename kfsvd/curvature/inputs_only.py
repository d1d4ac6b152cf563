"""Curvature of the inputs alone, A ⊗ I: the form of FOOF."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from kfsvd.curvature.kronecker_sum import KroneckerSum
from kfsvd.inverse.damped import DampedInverse
from kfsvd.inverse.damping import check_choices
from kfsvd.linalg.cholesky import cholesky

if TYPE_CHECKING:
    from typing import Self

    from torch import Tensor

    from kfsvd.options.choices import DampingRule, Guard


@dataclass(frozen=True, eq=False)
class InputInverse(DampedInverse):
    """V ↦ V (A + λI)⁻¹: one product a step."""

    a_inverse: Tensor

    def __call__(self, gradient: Tensor) -> Tensor:
        """V (A + λI)⁻¹."""
        return gradient @ self.a_inverse


@dataclass(frozen=True, eq=False)
class InputKronecker(KroneckerSum):
    """F̂ = A ⊗ I, a Kronecker product whose second factor is the identity."""

    @classmethod
    def of(cls, a: Tensor, width: int) -> Self:
        """Of A (d_in, d_in) and d_out = `width`."""
        return cls(((a, torch.eye(width, dtype=a.dtype, device=a.device)),))

    def inverse(
        self, damping: float, *, rule: DampingRule = "exact", guard: Guard = "floor", pi: float = 1.0
    ) -> DampedInverse:
        """V ↦ V (A + λI)⁻¹ = (A⊗I + λI)⁻¹ V exactly, by one Cholesky inversion.

        Raises:
            ValueError: λ is not positive, or the rule is one of two factors.

        """
        check_choices(damping, rule, guard)
        if rule != "exact":
            raise ValueError(f"curvature of the inputs alone takes the damping rule 'exact' alone; got {rule!r}")
        damped = self.terms[0][0].clone()
        damped.diagonal().add_(damping)
        inverse: Tensor = torch.cholesky_inverse(cholesky(damped))
        return InputInverse(inverse)
