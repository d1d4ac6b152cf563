"""Damped inverses of low rank: a few directions that stand out of the damping, and the rest taken as isotropic.

The damped factors of F̂'s first product are A_λ = A + aI and B_λ = B + bI, with ab = λ (`kfsvd.inverse`). Directions
whose eigenvalue is small against a are changed little by the inverse. So A_λ is replaced by

    Ã = U diag(θ + a) Uᵀ + r(I − UUᵀ)        (θ, U)  the k leading eigenpairs of A
                                              r       a + s/2, s a bound of the neglected eigenvalues
    Ã⁻¹ = (I − U diag(1 − r/(θ + a)) Uᵀ)/r

and Ã⁻¹V B̃⁻¹ takes products of 2 d_out d_in k operations instead of 2 d_out d_in d_in.

The bound. Every neglected eigenvalue lies in [0, s], so that Ã differs from A_λ by at most e_A = (s/2)/r of itself, and
the error of the eigenvectors adds η = ‖(AU − U diag θ) diag(θ + a)^(-1/2)‖/√r:

    (1 − e)Ã ≼ A_λ ≼ (1 + e)Ã  ⇒  (1 − e)A_λ⁻¹ ≼ Ã⁻¹ ≼ (1 + e)A_λ⁻¹,   e = e_A + η

That s is a bound is not estimated but shown: s I − A has a Cholesky factor on the complement of U. The inverse of the
product is then off by at most ε = (1 + e_A)(1 + e_B) − 1, relative, in the norm of F̂_λ: whatever V,

    ‖Δ̃ − Δ‖ ≤ ε ‖Δ‖,   ‖Δ‖² = ⟨Δ, F̂_λ Δ⟩.

A second product P⊗Q is whitened by these, S = Ã^(-1/2) P Ã^(-1/2) and T likewise, and kept in the leading eigenvectors
of S and T, (s, W) and (t, Z):

    (A_λ⊗B_λ + P⊗Q)⁻¹ ≈ Ã⁻¹⊗B̃⁻¹ + (K_A⊗K_B) diag(1/(1 + t sᵀ) − 1) (K_A⊗K_B)ᵀ,   K_A = Ã^(-1/2)W, K_B = B̃^(-1/2)Z

with the guard on 1 + t sᵀ. What is neglected of S and T is known from their Frobenius norms, and changes the damped sum
by at most δ = |s|₁ t_r + s_r |t|₁ + s_r t_r times its first product. Together with ε it is that sum off by ε + δ, which
the tolerance bounds; its inverse by (ε + δ)/f with f the least of 1 + t sᵀ, at least 0.1 with the guard `floor`.

Where k is so large that the dense inverse is cheaper, that one is made.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch

from kfsvd.inverse import DampedInverse, Direction, check_choices, damped_inverse, guarded, shares
from kfsvd.subspace import Subspace

if TYPE_CHECKING:
    from torch import Tensor

    from kfsvd.inverse import DampingRule, Guard

_ISOTROPIC = 0.8
"""The part of a side's tolerance for neglected eigenvalues; the rest is for inexact eigenvectors."""
_KEPT = 0.8
"""Eigenvalues beyond this part of the bound s are kept, so that the bound can be shown."""
_FIRST_TERM = 0.6
"""The part of the tolerance for the first of two products."""
_MOST_TRIES = 8
"""Steps of subspace iteration beyond which a full eigendecomposition is made."""


@dataclass(frozen=True, eq=False)
class LowRankInverse(DampedInverse):
    """V ↦ γ(V − U_B D_B U_BᵀV)(I − U_A D_A U_Aᵀ) + K_B[(K_BᵀVK_A) ∘ G]K_Aᵀ.

    Args:
        scale: γ = 1/(r_A r_B), a scalar.
        basis_in: U_A (d_in, k_A).
        basis_out: U_B (d_out, k_B).
        shrinkage_in: D_A (k_A,), 1 − r/(θ + a).
        shrinkage_out: D_B (k_B,).
        pair_in: K_A (d_in, q_A), without columns for a single product.
        pair_out: K_B (d_out, q_B).
        gains: G (q_B, q_A), 1/(1 + t sᵀ) − 1.
        bound: of the relative error, in the norm of the damped F̂.

    """

    scale: Tensor
    basis_in: Tensor
    basis_out: Tensor
    shrinkage_in: Tensor
    shrinkage_out: Tensor
    pair_in: Tensor
    pair_out: Tensor
    gains: Tensor
    bound: float

    @property
    def ranks(self) -> tuple[int, int]:
        """The directions kept on the input and on the output side."""
        return (
            self.basis_in.shape[1] + self.pair_in.shape[1],
            self.basis_out.shape[1] + self.pair_out.shape[1],
        )

    def __call__(self, gradient: Tensor) -> Tensor:
        """Of V (d_out, d_in)."""
        return self.direction(gradient).matrix()

    def direction(self, gradient: Tensor) -> LowRankDirection:
        """The same as γV − L R with thin L and R, ready to be added to a momentum."""
        v, k = gradient, self.basis_out.shape[1]
        rows = torch.cat([self.basis_out, self.pair_out], 1).mT @ v  # (k_B + q_B, d_in)
        columns = v @ self.basis_in  # (d_out, k_A)
        shrunk_rows = self.shrinkage_out.unsqueeze(1) * rows[:k]
        shrunk_columns = columns * self.shrinkage_in
        core = (rows[:k] @ self.basis_in) * self.shrinkage_in  # U_BᵀVU_A D_A
        shrunk_core = self.shrinkage_out.unsqueeze(1) * core
        corner = shrunk_columns - self.basis_out @ shrunk_core
        slope = torch.dot(v.flatten(), v.flatten()) - (rows[:k] * shrunk_rows).sum() - (columns * corner).sum()
        slope = self.scale * slope
        left, right = [self.basis_out, corner], [shrunk_rows, self.basis_in.mT]
        if self.pair_in.shape[1]:
            paired = rows[k:] @ self.pair_in
            gained = paired * self.gains
            slope = slope + (paired * gained).sum()
            left.append(self.pair_out @ gained / -self.scale)
            right.append(self.pair_in.mT)
        return LowRankDirection(v, slope, self.scale, torch.cat(left, 1), torch.cat(right))


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


class _Side(NamedTuple):
    """A damped factor as it is replaced."""

    vectors: Tensor  # U (n, k)
    values: Tensor  # θ (k,)
    shift: float  # a
    rest: float  # r
    error: float  # e

    @property
    def shrinkage(self) -> Tensor:
        """1 − r/(θ + a)."""
        return 1 - self.rest / (self.values + self.shift)

    @property
    def root_shrinkage(self) -> Tensor:
        """1 − √(r/(θ + a)): Ã^(-1/2) = (I − U diag(·) Uᵀ)/√r."""
        return 1 - (self.rest / (self.values + self.shift)).sqrt()


class _Pair(NamedTuple):
    """The second product on one side, whitened: its leading eigenpairs, and the Frobenius norm of the rest."""

    vectors: Tensor  # (n, q)
    values: Tensor  # (q,)
    remainder: float


def low_rank_inverse(
    terms: tuple[tuple[Tensor, Tensor], ...],
    damping: float,
    *,
    rule: DampingRule,
    guard: Guard,
    pi: float = 1.0,
    tolerance: float,
    start: DampedInverse | None = None,
) -> DampedInverse:
    """The damped inverse of A⊗B, or A⊗B + P⊗Q, of as low a rank as the tolerance allows; see the module's docstring.

    Args:
        terms: one or two pairs of factors, the first positive semidefinite.
        damping: λ.
        rule: "factored" or "factored_pi".
        guard: what is done where the sum is not positive definite.
        pi: the constant π of the rule "factored".
        tolerance: ε.
        start: an inverse of nearby factors, from whose directions the search starts.

    Returns:
        A `LowRankInverse`, or a dense inverse where that is cheaper to apply.

    Raises:
        ValueError: λ or the tolerance is not positive and finite, a choice is unknown, the rule is "exact", or there
            are more than two terms.
        IndefiniteError: the damped sum is not positive definite and the guard is `raise`.

    """
    check_choices(damping, rule, guard)
    if not 0 < tolerance < float("inf"):
        raise ValueError(f"tolerance must be positive and finite; got {tolerance}")
    if rule == "exact" or len(terms) > 2:
        raise ValueError(f"a low-rank inverse takes a factored rule and at most two terms; got {rule}, {len(terms)}")
    (a, b), warm = terms[0], start if isinstance(start, LowRankInverse) else None
    shift_a, shift_b = (float(share) for share in shares(a, b, damping, None if rule == "factored_pi" else pi))
    first = tolerance if len(terms) == 1 else _FIRST_TERM * tolerance
    each = (1 + first) ** 0.5 - 1
    inner = _side(a, shift_a, each, None if warm is None else warm.basis_in)
    outer = _side(b, shift_b, each, None if warm is None else warm.basis_out)
    error = (1 + inner.error) * (1 + outer.error) - 1
    pair_in, pair_out = a.new_zeros(len(a), 0), b.new_zeros(len(b), 0)
    gains = a.new_zeros(0, 0)
    if len(terms) == 2:
        second_in, second_out = _whitened(terms[1][0], inner), _whitened(terms[1][1], outer)
        starts = (pair_in, pair_out) if warm is None else (warm.pair_in, warm.pair_out)
        left, right, delta = _pairs(second_in, second_out, tolerance - error, starts)
        sums = 1 + torch.outer(right.values, left.values)
        denominators = guarded(sums, guard)
        gains = denominators.reciprocal() - 1
        error += delta
        if denominators.numel():
            pair_in, pair_out = _unwhitened(left.vectors, inner), _unwhitened(right.vectors, outer)
            error /= min(1.0, float(denominators.min()))
    kept_in, kept_out = inner.vectors.shape[1], outer.vectors.shape[1]
    thin = 2 * kept_out + 2 * kept_in + pair_in.shape[1] + pair_out.shape[1]
    if thin >= len(terms) * (len(a) + len(b)):
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
        bound=error,
    )


def _side(factor: Tensor, shift: float, tolerance: float, start: Tensor | None) -> _Side:
    """The eigenpairs of a factor that stand out, with a shown bound of the others."""
    tolerance = min(tolerance, 0.9)
    part = _ISOTROPIC * tolerance
    limit = 2 * shift * part / (1 - part)  # s, so that (s/2)/(a + s/2) is that part
    subspace = Subspace(factor, factor.new_zeros(len(factor), 0) if start is None else start)
    for _ in range(_MOST_TRIES):
        if subspace.exact:
            break
        kept = int((subspace.values > _KEPT * limit).sum())
        if kept > subspace.vectors.shape[1] - 2:
            subspace.widen()
            continue
        found = subspace.values[:kept], subspace.vectors[:, :kept], subspace.images[:, :kept]
        rest = shift + limit / 2
        slip = _slip(*found, shift, rest)
        if part + slip <= tolerance and _bounded(factor, *found, limit):
            return _Side(found[1].contiguous(), found[0], shift, rest, part + slip)
        subspace.iterate()
    else:
        subspace.decompose()
    kept = int((subspace.values > limit).sum())
    largest = float(subspace.values[kept]) if kept < len(factor) else 0.0
    rest = shift + max(largest, 0.0) / 2
    vectors, values = subspace.vectors[:, :kept].contiguous(), subspace.values[:kept]
    return _Side(vectors, values, shift, rest, 1 - shift / rest)


def _slip(values: Tensor, vectors: Tensor, images: Tensor, shift: float, rest: float) -> float:
    """η: how far the vectors are from eigenvectors, against the damped factor."""
    residual = (images - vectors * values) / (values + shift).sqrt()
    return float(torch.linalg.vector_norm(residual)) / math.sqrt(rest)


def _bounded(factor: Tensor, values: Tensor, vectors: Tensor, images: Tensor, limit: float) -> bool:
    """Whether s is a bound of what the vectors leave: s I − (I − UUᵀ)A(I − UUᵀ) has a Cholesky factor."""
    half = images - vectors * (values / 2)
    left, right = torch.cat([vectors, half], 1), torch.cat([half, vectors], 1)
    left_over = torch.addmm(factor, left, right.mT, beta=-1)
    left_over.diagonal().add_(limit)
    return int(torch.linalg.cholesky_ex(left_over).info) == 0


def _whitened(second: Tensor, side: _Side) -> Tensor:
    """Ã^(-1/2) P Ã^(-1/2)."""
    scaled = side.vectors * side.root_shrinkage
    images = second @ side.vectors
    half = images * side.root_shrinkage - scaled @ ((side.vectors.mT @ images) * side.root_shrinkage) / 2
    left, right = torch.cat([side.vectors, half], 1), torch.cat([half, side.vectors], 1)
    return torch.addmm(second, left, right.mT, alpha=-1).div_(side.rest)


def _unwhitened(vectors: Tensor, side: _Side) -> Tensor:
    """Ã^(-1/2) W."""
    kept = side.root_shrinkage.unsqueeze(1) * (side.vectors.mT @ vectors)
    return (vectors - side.vectors @ kept) / math.sqrt(side.rest)


def _pairs(left: Tensor, right: Tensor, tolerance: float, starts: tuple[Tensor, Tensor]) -> tuple[_Pair, _Pair, float]:
    """Both sides' leading pairs such that what is neglected of S⊗T stays within the tolerance; and what it is."""
    sides = [Subspace(matrix, start) for matrix, start in zip((left, right), starts, strict=True)]
    norms = [float(torch.linalg.vector_norm(matrix, dtype=torch.float64)) for matrix in (left, right)]
    largest = [max(float(subspace.values[0].abs()), 1e-30) for subspace in sides]
    # each of the two first parts of δ within 0.4 of the tolerance, and so the third within 0.2
    enlarged = max(1.0, (0.8 * tolerance / (largest[0] * largest[1])) ** 0.5)
    pairs: list[_Pair] = []
    for subspace, norm, other in zip(sides, norms, reversed(largest), strict=True):
        target = 0.4 * tolerance / (other * enlarged)
        for _ in range(_MOST_TRIES):
            pair = _leading(subspace, norm, target)
            if pair is not None:
                break
            subspace.widen()
        else:
            subspace.decompose()
            pair = _leading(subspace, norm, target)
        assert pair is not None
        pairs.append(pair)
    first, second = pairs
    s, t = (float(pair.values[0].abs()) if len(pair.values) else 0.0 for pair in pairs)
    return first, second, s * second.remainder + first.remainder * t + first.remainder * second.remainder


def _leading(subspace: Subspace, norm: float, target: float) -> _Pair | None:
    """As few pairs as leave a remainder within the target; None where the subspace does not hold so many."""
    left = norm**2 - subspace.values.double().square().cumsum(0)
    remainders = torch.cat([left.new_tensor([norm**2]), left]).clamp(min=0).sqrt()
    within = (remainders <= target).nonzero()
    if not len(within):
        return None if not subspace.exact else _Pair(subspace.vectors, subspace.values, float(remainders[-1]))
    q = int(within[0])
    return _Pair(subspace.vectors[:, :q].contiguous(), subspace.values[:q], float(remainders[q]))
