"""What the methods made of singular pairs of Z(F) share: rank, solver, and the averaging by power steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from kfsvd.approximations.base import Approximation
from kfsvd.options.choices import Solver
from kfsvd.options.declare import Option

if TYPE_CHECKING:
    from torch import Tensor

    from kfsvd.curvature.base import Curvature
    from kfsvd.curvature.kronecker_sum import KroneckerSum
    from kfsvd.network.samples import LayerSamples
    from kfsvd.options.choices import DampingRule

Rank = Annotated[int, Option("Kronecker products; above 2 with the damping rule exact alone", ge=1)]


@dataclass(frozen=True)
class SingularPairs(Approximation):
    """F̂ = Σ_k σ_k mat(u_k) ⊗ mat(v_k), √σ_k on each factor.

    Args:
        rank: the number of Kronecker products, at least 1.
        solver: "gram", "matrix_free" or "auto"; see `kfsvd.rearrangement`.

    Raises:
        ValueError: a rank below 1.

    """

    averagings = ("factors", "stream", "samples")
    rank: Rank = 1
    solver: Annotated[Solver, Option("how the pairs are found")] = "auto"

    @property
    def products(self) -> int:
        """As many as the rank."""
        return self.rank

    @property
    def damping_rules(self) -> tuple[DampingRule, ...]:
        """Factored rules have no closed form for more than two products."""
        return super().damping_rules if self.rank <= 2 else ("exact",)

    def stream(self, past: Curvature, samples: LayerSamples, rho: float) -> Curvature:
        """One step of power iteration on the averaged Fisher block, from the past pairs and with the past for memory.

            R_k ← ρ R_k + (1 − ρ) (Z − Σ_{j<k} vec(R_j) vec(S_j)ᵀ) vec(S_k)/‖S_k‖²

        and S_k alike from the new R_k; then ‖R_k‖ = ‖S_k‖. For Z ≈ vec(R) vec(S)ᵀ it stands still. A pair keeps its
        sign, as it starts from its past.
        """
        from kfsvd.curvature.kronecker_sum import KroneckerSum

        assert isinstance(past, KroneckerSum)
        return stream_step(past, samples, rho)


def stream_step(past: KroneckerSum, samples: LayerSamples, rho: float, fixed: int = 0) -> KroneckerSum:
    """The step for all pairs after the first `fixed`, which are taken as they are (new already)."""
    from kfsvd.curvature.kronecker_sum import KroneckerSum

    terms = list(past.terms[:fixed])
    for left, right in past.terms[fixed:]:
        new_left = left.lerp(_residual_step(samples.rearranged_product(right), right, terms, 0, left), 1 - rho)
        transposed = samples.rearranged_product_transposed(new_left)
        new_right = right.lerp(_residual_step(transposed, new_left, terms, 1, right), 1 - rho)
        terms.append(_balanced(new_left, new_right))
    return KroneckerSum(tuple(terms))


def _residual_step(image: Tensor, vector: Tensor, terms: list[tuple[Tensor, Tensor]], side: int, old: Tensor) -> Tensor:
    """(image − Σ_j ⟨S_j, V⟩ R_j)/‖V‖², or the past where V is zero."""
    for term in terms:
        image = image - term[side] * (term[1 - side] * vector).sum()
    square = vector.square().sum()
    return image / square if square > 0 else old


def _balanced(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """The same product with ‖R‖ = ‖S‖."""
    norm_left, norm_right = left.norm(), right.norm()
    if not (norm_left > 0 and norm_right > 0):
        return left, right
    ratio = (norm_right / norm_left).sqrt()
    return left * ratio, right / ratio
