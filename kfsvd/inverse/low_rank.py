"""Damped inverses of low rank: a few directions that stand out of the damping, and the rest taken as isotropic.

The damped factors of F̂'s first product are A_λ = A + aI and B_λ = B + bI, with ab = λ (`kfsvd.inverse`). Directions
whose eigenvalue is small against a are changed little by the inverse. So A_λ is replaced by

    Ã = J diag(θ + a) Jᵀ + r(I − JJᵀ)        (θ, J)  leading eigenpairs of A, k of them
                                              r       a + the mean of the neglected eigenvalues
    Ã⁻¹ = (I − J diag(1 − r/(θ + a)) Jᵀ)/r

and B̃⁻¹V Ã⁻¹ takes products of 2 d_out d_in k operations instead of 2 d_out d_in².

The bound. Let s bound the neglected eigenvalues, which lie in [0, s]; and let the vectors be eigenvectors up to
η = ‖(AJ − J diag θ) diag(θ + a)^(-1/2)‖/√r. Then

    (1 − e)A_λ⁻¹ ≼ Ã⁻¹ ≼ (1 + e)A_λ⁻¹,   e = (y + √(y² + 4η²))/2,   y = max((a + s)/r − 1, 1 − a/r)

That s is a bound is not estimated but shown: s I + J diag(3θ) Jᵀ − A has a Cholesky factor. The inverse of the
product is off by at most ε = (1 + e_A)(1 + e_B) − 1, relative, in the norm of F̂_λ: whatever V,

    ‖Δ̃ − Δ‖ ≤ ε ‖Δ‖,   ‖Δ‖² = ⟨Δ, F̂_λ Δ⟩.

It is reached by a V whose directions have just the eigenvalue s on both sides. The mean makes the bulk of the
directions right: there, and so for most gradients, the error is many times smaller.

A second product P⊗Q is whitened, S = Ã^(-1/2) P Ã^(-1/2) and T likewise, and kept within J⊗J alone, S_J = W diag(s) Wᵀ
and T_J = Z diag(t) Zᵀ:

    (A_λ⊗B_λ + P⊗Q)⁻¹ ≈ Ã⁻¹⊗B̃⁻¹ + (K_A⊗K_B) diag(1/(1 + t sᵀ) − 1) (K_A⊗K_B)ᵀ,   K_A = J diag(θ + a)^(-1/2) W

with the guard on 1 + t sᵀ, K_B likewise. What is neglected of S and T, of norms S_r and T_r at most, changes the damped
sum by at most δ = |s| T_r + S_r |t| + S_r T_r, relative to its first product and outside of J⊗J; within J⊗J there is no
other error than η. Where P or Q reach far beyond J, J is extended. With f the least of 1 + t sᵀ and 1, the inverse of
the sum (as it is guarded) is off by at most

    (1 + e_A)(1 + e_B) − 1 + δ (1 + √(1 + 4/f))/2,   η/√f in the place of η.

(Where the sum is indefinite outside of J⊗J, which a tolerance above 1 does not preclude, the inverse applied is still
positive definite, and the bound is one of its relative residual, ‖F̂_λ Δ̃ − V‖ ≤ ε‖V‖ in the norm of that inverse.)

Where the dense inverse is cheaper to apply, because k is large or the layer small, that one is made.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from kfsvd.inverse.damped import DampedInverse, Direction, damped_inverse
from kfsvd.inverse.damping import check_choices, guarded, shares
from kfsvd.inverse.low_rank_bounds import damped_side, product_error, second_sides, sum_error
from kfsvd.linalg.thin import times_thin

if TYPE_CHECKING:
    from torch import Tensor

    from kfsvd.inverse.low_rank_bounds import Side
    from kfsvd.options.choices import DampingRule, Guard

_TOLERANCES = 5.0, 40.0
"""For one product and for two: an iteration makes nearly as much progress as with the dense inverse there."""
SMALL = 3_000_000, 1_000_000
"""d_in d_out (d_in + d_out) up to which a layer is inverted densely: more calls would cost more than they save.

For one product and for two, whose dense inverse takes an eigendecomposition of each side: at 251×30 the dense one takes
0.07 of the other's time with one product, and 1.39 with two.
"""
_FIRST_TERM = 0.125
"""The part of the tolerance for the first of two products."""


@dataclass(frozen=True, eq=False)
class LowRankInverse(DampedInverse):
    """V ↦ γ(I − J_B D_B J_Bᵀ)V(I − J_A D_A J_Aᵀ) + J_B K_B[(K_BᵀV̂K_A) ∘ G]K_BᵀJ_Aᵀ, V̂ = J_BᵀVJ_A.

    Args:
        scale: γ = 1/(r_A r_B), a scalar.
        basis_in: J_A (d_in, k_A), orthonormal.
        basis_out: J_B (d_out, k_B).
        shrinkage_in: D_A (k_A,), 1 − r/(θ + a).
        shrinkage_out: D_B (k_B,).
        pair_in: K_A (k_A, k_A) in the coordinates of J_A; None for a single product.
        pair_out: K_B (k_B, k_B).
        gains: G (k_B, k_A), 1/(1 + t sᵀ) − 1.
        bound: of the relative error, in the norm of the damped F̂.

    """

    scale: Tensor
    basis_in: Tensor
    basis_out: Tensor
    shrinkage_in: Tensor
    shrinkage_out: Tensor
    pair_in: Tensor | None
    pair_out: Tensor | None
    gains: Tensor | None
    bound: float

    @property
    def ranks(self) -> tuple[int, int]:
        """The directions kept on the input and on the output side."""
        return self.basis_in.shape[1], self.basis_out.shape[1]

    def __call__(self, gradient: Tensor) -> Tensor:
        """Of V (d_out, d_in)."""
        return self.direction(gradient).matrix()

    def direction(self, gradient: Tensor) -> LowRankDirection:
        """The same as γ(V − L R) with thin L and R, ready to be added to a momentum."""
        rows, columns = self.basis_out.mT @ gradient, times_thin(gradient, self.basis_in)
        shrunk_rows = self.shrinkage_out.unsqueeze(1) * rows
        core = rows @ self.basis_in  # V̂
        middle = self.shrinkage_out.unsqueeze(1) * core * self.shrinkage_in
        if self.pair_in is not None and self.pair_out is not None and self.gains is not None:
            paired = self.pair_out.mT @ core @ self.pair_in
            middle += self.pair_out @ (paired * self.gains) @ self.pair_in.mT / self.scale
        corner = columns * self.shrinkage_in - times_thin(self.basis_out, middle)
        flat = gradient.flatten()
        slope = torch.dot(flat, flat) - (rows * shrunk_rows).sum() - (columns * corner).sum()
        left, right = torch.cat([self.basis_out, corner], 1), torch.cat([shrunk_rows, self.basis_in.mT])
        return LowRankDirection(gradient, self.scale * slope, self.scale, left, right)


@dataclass(frozen=True, eq=False)
class LowRankDirection(Direction):
    """Δ = γ(V − L R)."""

    gradient: Tensor
    slope: Tensor
    scale: Tensor
    left: Tensor
    right: Tensor

    def matrix(self) -> Tensor:
        """Δ, formed."""
        return torch.addmm(self.gradient, self.left, self.right, alpha=-1).mul_(self.scale)

    def add_to(self, momentum: Tensor, decay: float, scale: Tensor) -> None:
        """In two passes over the momentum: the product is scaled while it is thin."""
        scale = scale * self.scale
        momentum.addmm_(self.left * -scale, self.right, beta=decay)
        momentum.addcmul_(self.gradient, scale)


def low_rank_inverse(
    terms: tuple[tuple[Tensor, Tensor], ...],
    damping: float,
    *,
    rule: DampingRule,
    guard: Guard,
    pi: float = 1.0,
    tolerance: float | None = None,
    start: DampedInverse | None = None,
) -> DampedInverse:
    """The damped inverse of A⊗B, or A⊗B + P⊗Q, of as low a rank as the tolerance allows; see the module's docstring.

    Args:
        terms: one or two pairs of factors, the first positive semidefinite.
        damping: λ.
        rule: "factored" or "factored_pi".
        guard: what is done where the sum is not positive definite.
        pi: the constant π of the rule "factored".
        tolerance: of the relative error; if None, 5 for one product and 40 for two.
        start: an inverse of nearby factors, from whose directions the search starts.

    Returns:
        A `LowRankInverse`, or a dense inverse where that is cheaper to apply.

    Raises:
        ValueError: λ or the tolerance is not positive and finite, a choice is unknown, the rule is "exact", or there
            are more than two terms.
        IndefiniteError: the damped sum is not positive definite and the guard is `raise`.

    """
    check_choices(damping, rule, guard)
    if tolerance is None:
        tolerance = _TOLERANCES[len(terms) > 1]
    if not 0 < tolerance < math.inf:
        raise ValueError(f"tolerance must be positive and finite; got {tolerance}")
    if rule == "exact" or len(terms) > 2:
        raise ValueError(f"a low-rank inverse takes a factored rule and at most two terms; got {rule}, {len(terms)}")
    (a, b), warm = terms[0], start if isinstance(start, LowRankInverse) else None
    if len(a) * len(b) * (len(a) + len(b)) <= SMALL[len(terms) > 1]:
        return damped_inverse(terms, damping, rule=rule, guard=guard, pi=pi)
    shift_a, shift_b = (float(share) for share in shares(a, b, damping, None if rule == "factored_pi" else pi))
    first = tolerance if len(terms) == 1 else _FIRST_TERM * tolerance
    each = math.sqrt(1 + first) - 1
    inner = damped_side(a, shift_a, each, None if warm is None else warm.basis_in)
    outer = damped_side(b, shift_b, each, None if warm is None else warm.basis_out)
    pair_in = pair_out = gains = None
    bound = product_error(inner, outer, 1.0)
    if len(terms) == 2:
        inner, outer, left, right = second_sides(terms, inner, outer, tolerance)
        denominators = guarded(1 + torch.outer(right.values, left.values), guard)
        pair_in, pair_out, gains = left.vectors, right.vectors, denominators.reciprocal() - 1
        bound = sum_error(inner, outer, left, right, denominators)
    if _thin_cost(inner, outer) >= len(terms) * (len(a) + len(b)):
        return damped_inverse(terms, damping, rule=rule, guard=guard, pi=pi)
    return LowRankInverse(
        scale=a.new_tensor(1 / (inner.rest * outer.rest)),
        basis_in=inner.vectors,
        basis_out=outer.vectors,
        shrinkage_in=inner.shrinkage,
        shrinkage_out=outer.shrinkage,
        pair_in=pair_in,
        pair_out=pair_out,
        gains=gains,
        bound=bound,
    )


def _thin_cost(inner: Side, outer: Side) -> int:
    """Columns that V is multiplied with, forth and back; a dense inverse of one product has d_in + d_out."""
    return 2 * (inner.vectors.shape[1] + outer.vectors.shape[1])
