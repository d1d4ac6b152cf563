"""Damped inverses of a Kronecker sum F̂ = Σ A_i⊗B_i, prepared once and applied to many gradients.

One meaning of damping for all: λ is added to F̂, an approximation of F + λI with F the Fisher matrix of the loss in
nats per example. What differs is how λI enters:

`exact`        (F̂ + λI)⁻¹ itself. Rank 1: U_B[(U_Bᵀ V U_A) ⊘ (d_B d_Aᵀ + λ)]U_Aᵀ from two eigendecompositions.
               More terms: a dense solve for small blocks, else conjugate gradients preconditioned by the factored rule.
`factored`     (A_λ⊗B_λ + …)⁻¹ with A_λ = A_1 + π√λ I, B_λ = B_1 + √λ/π I and a constant π, 1 by default.
`factored_pi`  likewise with π² = (tr A_1/d_in)/(tr B_1/d_out), which balances the two sides (Martens & Grosse 2015,
               §6.3).

Factored, rank 2 (ibid., appendix B): with Cholesky factors A_λ = L_A L_Aᵀ, B_λ = L_B L_Bᵀ and
L_A⁻¹ A_2 L_A⁻ᵀ = E_A diag(s) E_Aᵀ, L_B⁻¹ B_2 L_B⁻ᵀ = E_B diag(t) E_Bᵀ, K_A = L_A⁻ᵀE_A, K_B = L_B⁻ᵀE_B:

    (A_λ⊗B_λ + A_2⊗B_2)⁻¹ vec(V) = vec(K_B [(K_Bᵀ V K_A) ⊘ (1 + t sᵀ)] K_Aᵀ)

The guard. A second term is Frobenius-orthogonal to a positive first one, hence indefinite, and so may be their sum,
although F is not: 1 + t_i s_j ≤ 0 turns a step into ascent. `floor` raises these denominators to at least 0.1;
`absolute` takes 1 + |t_i||s_j|, as the published code does: the second term then only ever shortens a step; `raise`
refuses.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from kfsvd.inverse.damping import check_choices, damped_factors, guarded, shares
from kfsvd.linalg.cholesky import IndefiniteError, cholesky, damped_cholesky_inverses
from kfsvd.linalg.eigh import _without_subnormals, symmetric_eigh

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from kfsvd.options.choices import DampingRule, Guard


DENSE_LIMIT = 2048  # d_in·d_out up to which an exact solve of rank ≥ 2 is dense
_TOLERANCE = 1e-12  # relative residual of conjugate gradients in float64 (1e-6 in float32)


class Direction(ABC):
    """Δ = (F̂ damped)⁻¹ V of one gradient V, in the form that its inverse gives it."""

    slope: Tensor
    """⟨V, Δ⟩, a scalar."""

    @abstractmethod
    def matrix(self) -> Tensor:
        """Δ, (d_out, d_in)."""

    @abstractmethod
    def add_to(self, momentum: Tensor, decay: float, scale: Tensor) -> None:
        """Momentum ← decay · momentum + scale · Δ, in place.

        Args:
            momentum: (d_out, d_in).
            decay: the factor of what is there.
            scale: a scalar, on the device of Δ.

        """


class DenseDirection(Direction):
    """Δ as a matrix."""

    def __init__(self, gradient: Tensor, step: Tensor) -> None:
        """Keep Δ = `step` of V = `gradient`, both (d_out, d_in)."""
        self.step = step
        self.slope = torch.dot(gradient.flatten(), step.flatten())

    def matrix(self) -> Tensor:
        """Δ."""
        return self.step

    def add_to(self, momentum: Tensor, decay: float, scale: Tensor) -> None:
        """Momentum ← decay · momentum + scale · Δ."""
        momentum.mul_(decay).addcmul_(self.step, scale)


class DampedInverse(ABC):
    """V ↦ (F̂ damped)⁻¹ V for V (d_out, d_in).

    A dataclass of tensors, numbers, names, and tuples and other inverses of them: all of it goes into a checkpoint.
    """

    @abstractmethod
    def __call__(self, gradient: Tensor) -> Tensor:
        """The preconditioned gradient, (d_out, d_in)."""

    def direction(self, gradient: Tensor) -> Direction:
        """The same in a form that is cheap to step along."""
        return DenseDirection(gradient, self(gradient))


@dataclass(frozen=True, eq=False)
class FactoredInverse(DampedInverse):
    """V ↦ B_λ⁻¹ V A_λ⁻¹: two products a step."""

    a_inverse: Tensor
    b_inverse: Tensor

    def __call__(self, gradient: Tensor) -> Tensor:
        """B_λ⁻¹ V A_λ⁻¹."""
        return self.b_inverse @ gradient @ self.a_inverse


@dataclass(frozen=True, eq=False)
class SpectralInverse(DampedInverse):
    """V ↦ K_B [(K_Bᵀ V K_A) ∘ R] K_Aᵀ: an inverse in a joint eigenbasis, K_A (d_in, d_in), K_B (d_out, d_out)."""

    basis_a: Tensor
    basis_b: Tensor
    reciprocals: Tensor

    def __call__(self, gradient: Tensor) -> Tensor:
        """K_B [(K_Bᵀ V K_A) ∘ R] K_Aᵀ."""
        rotated = self.basis_b.mT @ gradient @ self.basis_a
        return self.basis_b @ rotated.mul_(self.reciprocals) @ self.basis_a.mT


@dataclass(frozen=True, eq=False)
class DenseInverse(DampedInverse):
    """V ↦ (F̂ + λI)⁻¹ V through a Cholesky factor of the whole block, (d_in·d_out)²; small blocks only."""

    factor: Tensor

    def __call__(self, gradient: Tensor) -> Tensor:
        """Two triangular solves."""
        columns = gradient.mT.reshape(-1, 1)
        solution = torch.cholesky_solve(columns, self.factor)
        return solution.reshape(gradient.shape[1], gradient.shape[0]).mT


@dataclass(frozen=True, eq=False)
class IterativeInverse(DampedInverse):
    """V ↦ (F̂ + λI)⁻¹ V by preconditioned conjugate gradients; the guarded inverse where that is indefinite.

    `guarded` is the positive definite factored inverse: preconditioner and fallback.
    """

    terms: tuple[tuple[Tensor, Tensor], ...]
    damping: float
    guarded: DampedInverse
    guard: Guard

    def __call__(self, gradient: Tensor) -> Tensor:
        """Conjugate gradients to a relative residual of 1e-12 (1e-6 in float32).

        Raises:
            IndefiniteError: a direction of negative curvature was met and the guard is `raise`.
            ArithmeticError: no convergence in 1,000 iterations.

        """
        tolerance = _TOLERANCE if gradient.dtype == torch.float64 else 1e-6
        solution = torch.zeros_like(gradient)
        residual = gradient.clone()
        direction = preconditioned = self.guarded(residual)
        descent = (residual * preconditioned).sum()
        target = tolerance * torch.linalg.vector_norm(gradient)
        for _ in range(1000):
            if torch.linalg.vector_norm(residual) <= target:
                return solution
            image = self._apply(direction)
            curvature = (direction * image).sum()
            if not curvature > 0:
                if self.guard == "raise":
                    raise IndefiniteError("F̂ + λI is not positive definite; raise the damping or choose a guard")
                return self.guarded(gradient)
            length = descent / curvature
            solution = solution + length * direction
            residual = residual - length * image
            preconditioned = self.guarded(residual)
            previous, descent = descent, (residual * preconditioned).sum()
            direction = preconditioned + descent / previous * direction
        raise ArithmeticError("the exact damped solve did not converge; use a factored rule or more damping")

    def _apply(self, gradient: Tensor) -> Tensor:
        return self.damping * gradient + torch.stack([b @ gradient @ a for a, b in self.terms]).sum(0)


def damped_inverse(
    terms: tuple[tuple[Tensor, Tensor], ...], damping: float, *, rule: DampingRule, guard: Guard, pi: float = 1.0
) -> DampedInverse:
    """The damped inverse of Σ A_i⊗B_i by the given rule; see the module's docstring.

    Raises:
        ValueError: λ is not positive and finite, a choice is unknown, or the factored rules meet more than two terms.
        IndefiniteError: the damped sum is not positive definite and the guard is `raise`.

    """
    check_choices(damping, rule, guard)
    if rule == "exact":
        return _exact(terms, damping, guard)
    return _factored(terms, damping, guard, None if rule == "factored_pi" else pi)


def factored_inverses(
    products: Sequence[tuple[Tensor, Tensor]], damping: float, pi: float | None
) -> list[FactoredInverse]:
    """The damped inverses of many single products A⊗B by a factored rule, by one call of `kfsvd.linalg.cholesky`.

    Args:
        products: (A, B) of each.
        damping: λ.
        pi: the constant π; None for the rule "factored_pi".

    Raises:
        IndefiniteError: a damped factor is not positive definite.

    """
    factors = [factor for product in products for factor in product]
    inverted = iter(damped_cholesky_inverses(factors, [s for a, b in products for s in shares(a, b, damping, pi)]))
    return [FactoredInverse(next(inverted), next(inverted)) for _ in products]


def _exact(terms: tuple[tuple[Tensor, Tensor], ...], damping: float, guard: Guard) -> DampedInverse:
    a, b = terms[0]
    if len(terms) == 1:
        (values_a, vectors_a), (values_b, vectors_b) = symmetric_eigh(a), symmetric_eigh(b)
        denominators = torch.outer(values_b, values_a).clamp(min=0) + damping
        return SpectralInverse(vectors_a, vectors_b, denominators.reciprocal())
    if len(a) * len(b) <= DENSE_LIMIT:
        dense = torch.stack([torch.kron(a, b) for a, b in terms]).sum(0)
        dense.diagonal().add_(damping)
        factor, info = torch.linalg.cholesky_ex(dense)
        if int(info) == 0:
            return DenseInverse(factor)
        if guard == "raise":
            raise IndefiniteError("F̂ + λI is not positive definite; raise the damping or choose a guard")
        return _factored(terms[:2], damping, guard, None)
    preconditioner = _factored(terms[:2], damping, "floor" if guard == "raise" else guard, None)
    return IterativeInverse(terms, damping, preconditioner, guard)


def _factored(
    terms: tuple[tuple[Tensor, Tensor], ...], damping: float, guard: Guard, pi: float | None
) -> DampedInverse:
    if len(terms) > 2:
        raise ValueError(f"the factored damping rules take at most two Kronecker terms; got {len(terms)}")
    if len(terms) == 1:
        return factored_inverses(terms, damping, pi)[0]
    a, b = damped_factors(*terms[0], damping, pi)
    basis_a, values_a = joint_basis(a, terms[1][0])
    basis_b, values_b = joint_basis(b, terms[1][1])
    return SpectralInverse(basis_a, basis_b, guarded(1 + torch.outer(values_b, values_a), guard).reciprocal())


def joint_basis(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """K and s with Kᵀ first K = I and Kᵀ second K = diag(s)."""
    factor = cholesky(first)
    half = torch.linalg.solve_triangular(factor, second, upper=False)
    values, vectors = symmetric_eigh(torch.linalg.solve_triangular(factor, half.mT, upper=False))
    return _without_subnormals(torch.linalg.solve_triangular(factor.mT, vectors, upper=True)), values
