"""A sum of Kronecker products: the form of most curvature approximations here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from kfsvd.curvature.base import Curvature
from kfsvd.inverse.damped import DampedInverse, damped_inverse, factored_inverses
from kfsvd.inverse.damping import check_choices
from kfsvd.inverse.low_rank import low_rank_inverse
from kfsvd.linalg.leading_eigenvalues import leading_eigenvalues

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

    from torch import Tensor

    from kfsvd.network.samples import LayerSamples
    from kfsvd.options.choices import DampingRule, Guard


@dataclass(frozen=True, eq=False)
class KroneckerSum(Curvature):
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
    def shape(self) -> tuple[int, int]:
        """(d_out, d_in)."""
        a, b = self.terms[0]
        return len(b), len(a)

    @property
    def rank(self) -> int:
        """The number of Kronecker terms."""
        return len(self.terms)

    def dense(self) -> Tensor:
        """Σ A_i ⊗ B_i as one (d_in·d_out, d_in·d_out) matrix, for tests and tiny layers."""
        return torch.stack([torch.kron(a, b) for a, b in self.terms]).sum(0)

    def apply(self, gradient: Tensor) -> Tensor:
        """F̂ V = Σ B_i V A_i of V (d_out, d_in), or of a stack of them (…, d_out, d_in)."""
        return torch.stack([b @ gradient @ a.mT for a, b in self.terms]).sum(0)

    def inner(self, other: KroneckerSum) -> Tensor:
        """⟨F̂, other⟩ = Σ_ij ⟨A_i, C_j⟩⟨B_i, D_j⟩, a float64 scalar.

        Args:
            other: Σ_j C_j ⊗ D_j, of the same shape.

        """
        products = [
            (a.double() * c.double()).sum() * (b.double() * d.double()).sum()
            for a, b in self.terms
            for c, d in other.terms
        ]
        return torch.stack(products).sum()

    def norm(self) -> Tensor:
        """‖F̂‖_F, a float64 scalar."""
        return self.inner(self).clamp(min=0).sqrt()

    def fisher_inner(self, samples: LayerSamples) -> Tensor:
        """⟨F, F̂⟩ = Σ_i Σ_n w_n ⟨G_n, B_i G_n A_i⟩; with one position Σ_i Σ_n w_n (a_nᵀ A_i a_n)(g_nᵀ B_i g_n)."""
        double, w = samples.double(), samples.normalised_weights
        x, y = double.activations, double.gradients
        products = []
        for a, b in ((a.double(), b.double()) for a, b in self.terms):
            if samples.positions == 1:
                forms = ((x @ a) * x).flatten(1).sum(1) * ((y @ b) * y).flatten(1).sum(1)
            else:
                forms = torch.cat([(b @ g @ a * g).sum((1, 2)) for _, g in double.gradient_chunks()])
            products.append(w @ forms)
        return torch.stack(products).sum()

    def leading_eigenvalues(self, count: int, weights: Tensor | None = None) -> Tensor:
        """The largest eigenvalues: products of the factors' own for one term, by a Krylov method for more."""
        if self.rank == 1:
            a, b = (torch.linalg.eigvalsh(factor.double()) for factor in self.terms[0])
            products = torch.outer(a, b).flatten()
            return products.topk(min(count, len(products))).values
        inputs, outputs = (_compressed(side) for side in zip(*self.terms, strict=True))
        small = KroneckerSum(tuple(zip(inputs, outputs, strict=True)))
        values = leading_eigenvalues(small.apply, small.shape, count, weights, like=inputs[0])
        zeros = min(count, self.shape[0] * self.shape[1]) - len(values)
        return torch.cat([values, values.new_zeros(zeros)]).sort(descending=True).values

    def inverse(
        self, damping: float, *, rule: DampingRule = "exact", guard: Guard = "floor", pi: float = 1.0
    ) -> DampedInverse:
        """A damped inverse, prepared once to be applied to many gradients; see `kfsvd.inverse.damped`.

        Raises:
            ValueError: λ is not positive, a choice is unknown, or a factored rule meets more than two terms.
            IndefiniteError: the damped sum is not positive definite and the guard is "raise".

        """
        return damped_inverse(self.terms, damping, rule=rule, guard=guard, pi=pi)

    def low_rank_inverse(
        self,
        damping: float,
        *,
        rule: DampingRule = "factored_pi",
        guard: Guard = "floor",
        pi: float = 1.0,
        tolerance: float | None = None,
        start: DampedInverse | None = None,
    ) -> DampedInverse:
        """A damped inverse of as low a rank as the tolerance allows; see `kfsvd.inverse.low_rank`.

        Args:
            damping: λ > 0.
            rule: "factored" or "factored_pi".
            guard: what is done where a sum of two products is not positive definite.
            pi: the constant π of the rule "factored".
            tolerance: the bound of the relative error; if None, 5 for one product and 40 for two.
            start: the inverse of a nearby F̂, from whose directions the search starts.

        Raises:
            ValueError: λ or the tolerance is not positive, a choice is unknown, the rule is "exact", or there are more
                than two terms.
            IndefiniteError: the damped sum is not positive definite and the guard is "raise".

        """
        return low_rank_inverse(self.terms, damping, rule=rule, guard=guard, pi=pi, tolerance=tolerance, start=start)

    def average(self, new: Self, rho: float) -> Self:
        """ρ·past + (1 − ρ)·new, factor by factor; a later term's sign is first aligned with its past.

        Of both signs it is the one with the smaller ‖A − A'‖² + ‖B − B'‖².

        This is not the fit of the averaged Fisher block, and there is no scale-free average of factors: every fit has
        factors of equal norm.

        Args:
            new: the sum of a new curvature batch, of as many products.
            rho: ρ in [0, 1), the weight of the past.

        """
        terms = []
        for index, ((a, b), (new_a, new_b)) in enumerate(zip(self.terms, new.terms, strict=True)):
            if index and torch.dot(a.flatten(), new_a.flatten()) + torch.dot(b.flatten(), new_b.flatten()) < 0:
                new_a, new_b = -new_a, -new_b
            terms.append((a.lerp(new_a, 1 - rho), b.lerp(new_b, 1 - rho)))
        return type(self)(tuple(terms))

    def tensors(self) -> dict[str, Tensor]:
        """The factors A_i as "a0", "a1", … and B_i as "b0", "b1", …."""
        return {f"{name}{i}": f for i, term in enumerate(self.terms) for name, f in zip("ab", term, strict=True)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """The sum of those factors."""
        return cls(tuple((tensors[f"a{i}"], tensors[f"b{i}"]) for i in range(len(tensors) // 2)))


def damped_inverses(
    curvatures: Sequence[Curvature], damping: float, *, rule: DampingRule, guard: Guard, pi: float = 1.0
) -> list[DampedInverse]:
    """The damped inverse of each, as `Curvature.inverse` gives it; single products by one Cholesky call.

    Raises:
        ValueError: as `KroneckerSum.inverse`.
        IndefiniteError: likewise.

    """
    check_choices(damping, rule, guard)
    products = {
        index: curvature.terms[0]
        for index, curvature in enumerate(curvatures)
        if type(curvature) is KroneckerSum and curvature.rank == 1 and rule != "exact"
    }
    together = factored_inverses(list(products.values()), damping, None if rule == "factored_pi" else pi)
    found: dict[int, DampedInverse] = dict(zip(products, together, strict=True))
    for index, curvature in enumerate(curvatures):
        if index not in found:
            found[index] = curvature.inverse(damping, rule=rule, guard=guard, pi=pi)
    return [found[index] for index in range(len(curvatures))]


def _compressed(factors: Sequence[Tensor]) -> list[Tensor]:
    """The factors of one side in float64 within the range that they share: QᵀA_iQ, Q an orthonormal basis of it.

    Directions that hold no more than rounding of the factors' own dtype do not count.
    """
    double = [f.double() for f in factors]
    values, vectors = torch.linalg.eigh(torch.stack([f @ f for f in double]).sum(0))
    rounding = (8 * torch.finfo(factors[0].dtype).eps) ** 2
    basis = vectors[:, values > rounding * values[-1]]
    if basis.shape[1] in (0, len(values)):
        return double
    return [basis.mT @ f @ basis for f in double]
