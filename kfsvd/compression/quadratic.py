"""What it costs to take weights out of a layer, and how the others make up for it: the quadratic model ½ δᵀF δ.

F is a Kronecker sum A_1⊗B_1 (+ A_2⊗B_2), made positive definite as optimizers do it (`kfsvd.inverse`): damped by the
rule "factored_pi", the denominators 1 + t_i s_j of a rank-2 sum kept positive by a guard. In the joint basis of that
rule, P = L E of each side and K = P⁻ᵀ,

    F = (P_A⊗P_B) diag(D) (P_A⊗P_B)ᵀ,   F⁻¹ = (K_A⊗K_B) diag(1/D) (K_A⊗K_B)ᵀ

so that F and F⁻¹ are each other's inverse whatever the guard has raised, and neither is ever formed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from kfsvd.inverse.damped import joint_basis
from kfsvd.inverse.damping import damped_factors, guarded
from kfsvd.linalg.cholesky import cholesky
from kfsvd.linalg.finite import all_finite

if TYPE_CHECKING:
    from torch import Tensor

    from kfsvd.curvature.kronecker_sum import KroneckerSum
    from kfsvd.options.choices import Guard, Structure


TOLERANCE = 1e-6
"""Of the conjugate gradients of a change: their residual, relative to that without any change of the others."""

MOST_ITERATIONS = 100
"""Of them. Every iterate removes what is to be removed, and costs less than the one before."""

_VANISHING = 1e-30
"""The curvature of a layer whose Fisher block is zero: its weights go before all others, the smallest first."""


@dataclass(frozen=True, eq=False)
class Quadratic:
    """½ δᵀF δ for changes δ of a layer's weights (d_out, d_in), in float64.

    Args:
        roots: P_A (d_in, d_in) and P_B (d_out, d_out).
        bases: K_A = P_A⁻ᵀ and K_B = P_B⁻ᵀ.
        values: D (d_out, d_in), positive.

    """

    roots: tuple[Tensor, Tensor]
    bases: tuple[Tensor, Tensor]
    values: Tensor

    @classmethod
    def of(cls, curvature: KroneckerSum, damping: float, guard: Guard = "floor") -> Quadratic:
        """The model of a Kronecker sum of one or two products.

        Args:
            curvature: F̂.
            damping: λ in units of the mean eigenvalue of the first product, (tr A_1/d_in)(tr B_1/d_out): each of its
                factors is raised by √damping of its own mean eigenvalue.
            guard: what is done with denominators 1 + t_i s_j of a rank-2 sum that are not positive.

        Raises:
            ValueError: more than two products, or a damping that is not positive.
            FloatingPointError: a factor is not finite.
            IndefiniteError: the damped sum is not positive definite and the guard is "raise".

        """
        if curvature.rank > 2:
            raise ValueError(f"the curvature must be a sum of at most two Kronecker products; got {curvature.rank}")
        if not 0 < damping < float("inf"):
            raise ValueError(f"damping must be positive and finite; got {damping}")
        terms = [(a.double(), b.double()) for a, b in curvature.terms]
        if not all_finite(factor for term in terms for factor in term):
            raise FloatingPointError("the curvature is not finite: activations or gradients are NaN or out of range")
        a, b = terms[0]
        scale = float(a.diagonal().mean() * b.diagonal().mean())
        if not scale > 0:
            a, b = torch.eye(len(a)).to(a), _VANISHING * torch.eye(len(b)).to(b)
            terms, scale = [(a, b)], _VANISHING
        damped = damped_factors(a, b, damping * scale, None)
        if len(terms) == 1:
            roots = [cholesky(factor) for factor in damped]
            bases = [
                torch.linalg.solve_triangular(root, torch.eye(len(root)).to(root), upper=False).mT for root in roots
            ]
            values = torch.ones(len(b), len(a)).to(a)
        else:
            (basis_a, s), (basis_b, t) = (joint_basis(f, g) for f, g in zip(damped, terms[1], strict=True))
            bases = [basis_a, basis_b]
            roots = [factor @ basis for factor, basis in zip(damped, bases, strict=True)]
            values = guarded(1 + torch.outer(t, s), guard)
        return cls((roots[0], roots[1]), (bases[0], bases[1]), values)

    def to(self, dtype: torch.dtype) -> Quadratic:
        """The same in another dtype.

        Args:
            dtype: float32 or float64.

        """
        (a, b), (c, d) = self.roots, self.bases
        return Quadratic((a.to(dtype), b.to(dtype)), (c.to(dtype), d.to(dtype)), self.values.to(dtype))

    def apply(self, change: Tensor) -> Tensor:
        """F δ, (d_out, d_in).

        Args:
            change: δ (d_out, d_in).

        """
        if self._product is not None:
            a, b = self._product
            return b @ change @ a
        a, b = self.roots
        return b @ (b.mT @ change @ a).mul_(self.values) @ a.mT

    def diagonal(self) -> Tensor:
        """F_ij,ij (d_out, d_in)."""
        a, b = self.roots
        return b.square() @ self.values @ a.square().mT

    @cached_property
    def _product(self) -> tuple[Tensor, Tensor] | None:
        """A and B where F is A⊗B."""
        a, b = self.roots
        return (a @ a.mT, b @ b.mT) if bool((self.values == 1).all()) else None

    def costs(self, weights: Tensor, columns: int, structure: Structure) -> Tensor:
        """½ w_Kᵀ ([F⁻¹]_KK)⁻¹ w_K of every unit K: the least ½ δᵀF δ of a change that removes it.

        An element's is ½ W_ij²/[F⁻¹]_ij,ij. A row's or column's, for one product and no bias, ½ W_r A W_rᵀ/[B⁻¹]_rr
        or ½ W_cᵀB W_c/[A⁻¹]_cc (van der Ouderaa et al. 2023); the bias of a row stays, and takes part in making up.

        Args:
            weights: W (d_out, d_in).
            columns: how many of W's columns can be removed; what follows them is the bias.
            structure: what a unit is.

        Returns:
            (d_out, columns) for elements, (d_out,) for rows, (columns,) for columns.

        """
        (root_a, root_b), (basis_a, basis_b) = self.roots, self.bases
        own = weights[:, :columns]
        reciprocals = self.values.reciprocal()
        if structure == "element":
            variances = basis_b.square() @ reciprocals @ basis_a[:columns].square().mT
            return own.square() / variances / 2
        if structure == "column":
            spectra = basis_a[:columns].square() @ reciprocals.mT  # (columns, d_out): [F⁻¹]_KK = K_B diag(·) K_Bᵀ
            return ((own.mT @ root_b).square() / spectra).sum(1) / 2
        spectra = basis_b.square() @ reciprocals  # (d_out, d_in): [F⁻¹]_KK of a row with its bias = K_A diag(·) K_Aᵀ
        rotated = own @ root_a[:columns]
        costs = (rotated.square() / spectra).sum(1)
        if columns < weights.shape[1]:  # less what the bias makes up for: a Schur complement
            bias = root_a[columns]
            costs = costs - (rotated * bias / spectra).sum(1).square() / (bias.square() / spectra).sum(1)
        return costs.clamp(min=0) / 2

    def change(
        self, weights: Tensor, gone: Tensor, *, tolerance: float = TOLERANCE, most: int = MOST_ITERATIONS
    ) -> Tensor:
        """The change that removes the weights in `gone` at least cost, jointly: −F⁻¹Eᵀ(E F⁻¹Eᵀ)⁻¹E W, (d_out, d_in).

        As F_ff δ_f = F_fg w_g over the weights f that stay, by conjugate gradients on matrices, preconditioned by the
        diagonal of F: two products of matrices a step for one Kronecker product, four for two, in the dtype of W.
        δ_g = −w_g holds exactly at every step; where they end before they have converged, the change is the best of
        the space that they have searched.

        Args:
            weights: W (d_out, d_in).
            gone: (d_out, d_in) of bool, what is zero afterwards.
            tolerance: of the residual by the preconditioned norm, relative to that of the change of `gone` alone.
            most: iterations.

        """
        model = self.to(weights.dtype)
        reciprocals = model.diagonal().reciprocal().masked_fill_(gone, 0)
        change = torch.where(gone, -weights, torch.zeros_like(weights))
        residual = model.apply(change).neg_()
        direction = preconditioned = residual * reciprocals
        descent = first = (residual * preconditioned).sum()
        for _ in range(most):
            if not descent > tolerance**2 * first:
                break
            image = model.apply(direction)
            length = descent / (direction * image).sum()
            change = change + length * direction
            residual = residual - length * image
            preconditioned = residual * reciprocals
            previous, descent = descent, (residual * preconditioned).sum()
            direction = preconditioned + descent / previous * direction
        return change
