"""A curvature of rank one, u uᵀ ⊗ v vᵀ: the form of Eva."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from kfsvd.curvature.base import Curvature
from kfsvd.inverse.damped import DampedInverse
from kfsvd.inverse.damping import check_choices

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from torch import Tensor

    from kfsvd.network.samples import LayerSamples
    from kfsvd.options.choices import DampingRule, Guard


@dataclass(frozen=True, eq=False)
class RankOneInverse(DampedInverse):
    """V ↦ (V − ⟨M, V⟩/(λ + ‖M‖²) M)/λ with M = v uᵀ (Sherman & Morrison), from vectors alone."""

    inner: Tensor
    outer: Tensor
    damping: float
    share: Tensor  # 1/(λ + ‖u‖²‖v‖²)

    def __call__(self, gradient: Tensor) -> Tensor:
        """(u uᵀ ⊗ v vᵀ + λI)⁻¹ V."""
        projection = self.outer @ gradient @ self.inner
        return torch.addr(gradient, (projection * self.share) * self.outer, self.inner, alpha=-1).div_(self.damping)


@dataclass(frozen=True, eq=False)
class RankOne(Curvature):
    """F̂ = vec(M) vec(M)ᵀ, M = v uᵀ.

    Args:
        inner: u (d_in,).
        outer: v (d_out,).

    """

    inner: Tensor
    outer: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """(d_out, d_in)."""
        return len(self.outer), len(self.inner)

    @property
    def rank(self) -> int:
        """One Kronecker product, u uᵀ ⊗ v vᵀ."""
        return 1

    def dense(self) -> Tensor:
        """The product u uᵀ ⊗ v vᵀ."""
        vector = torch.kron(self.inner, self.outer)
        return torch.outer(vector, vector)

    def apply(self, gradient: Tensor) -> Tensor:
        """⟨M, V⟩ M."""
        return torch.outer((self.outer @ gradient @ self.inner) * self.outer, self.inner)

    def norm(self) -> Tensor:
        """‖u‖²‖v‖²."""
        return self.inner.double().square().sum() * self.outer.double().square().sum()

    def fisher_inner(self, samples: LayerSamples) -> Tensor:
        """Σ_n w_n ⟨G_n, M⟩²."""
        projections = samples.double().project(torch.outer(self.outer.double(), self.inner.double()))
        return samples.normalised_weights @ projections.square()

    def leading_eigenvalues(self, count: int, weights: Tensor | None = None) -> Tensor:
        """‖u‖²‖v‖², and zeros."""
        values = self.inner.new_zeros(min(count, self.shape[0] * self.shape[1]), dtype=torch.float64)
        values[0] = self.norm()
        return values

    def inverse(
        self, damping: float, *, rule: DampingRule = "exact", guard: Guard = "floor", pi: float = 1.0
    ) -> DampedInverse:
        """(F̂ + λI)⁻¹ by the formula of Sherman and Morrison.

        Raises:
            ValueError: λ is not positive, or the rule is one of factors.

        """
        check_choices(damping, rule, guard)
        if rule != "exact":
            raise ValueError(f"a curvature of rank one takes the damping rule 'exact' alone; got {rule!r}")
        share = (self.norm() + damping).reciprocal().to(self.inner.dtype)
        return RankOneInverse(self.inner, self.outer, damping, share)

    def tensors(self) -> dict[str, Tensor]:
        """The vectors u and v."""
        return {"inner": self.inner, "outer": self.outer}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """Of what `tensors` gave."""
        return cls(tensors["inner"], tensors["outer"])
