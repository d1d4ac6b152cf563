"""The LLM Surgeon (van der Ouderaa et al. 2023): the cheapest weights by a Kronecker sum go, the others make up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kfsvd.compression.base import Pruning, Removal, kronecker
from kfsvd.compression.quadratic import Quadratic
from kfsvd.curvature.kronecker_sum import KroneckerSum
from kfsvd.options.compression import TwoProducts

if TYPE_CHECKING:
    from torch import Tensor

    from kfsvd.network.samples import LayerSamples
    from kfsvd.options.choices import Structure


@dataclass(frozen=True, eq=False)
class _Removal(Removal):
    weights: Tensor
    columns: int
    model: Quadratic

    def costs(self, structure: Structure) -> Tensor:
        return self.model.costs(self.weights.double(), self.columns, structure)

    def change(self, gone: Tensor) -> Tensor:
        return self.model.change(self.weights, gone)


@dataclass(frozen=True)
class Surgeon(Pruning, TwoProducts):
    """Costs ½ w_Kᵀ([F⁻¹]_KK)⁻¹w_K and the change −F⁻¹Eᵀ(E F⁻¹Eᵀ)⁻¹E W; see `kfsvd.compression.quadratic`.

    A unit's cost is its own, as if it went alone; the change is that of all units of a layer together.

    Args:
        approximation: a name in `kfsvd.APPROXIMATIONS` whose F̂ is a sum of one or two Kronecker products.
        damping: λ in units of the mean eigenvalue of F̂.
        guard: what is done where a sum of two products is not positive definite.

    Raises:
        ValueError: no approximation has that name, or its F̂ has another form.

    """

    name = "surgeon"

    def __post_init__(self) -> None:
        super().__post_init__()
        kronecker(self.approximation)

    def removal(self, weights: Tensor, columns: int, samples: LayerSamples | None) -> Removal:
        """By the F̂ of the layer's samples."""
        assert samples is not None
        curvature = kronecker(self.approximation).fit(samples)
        assert isinstance(curvature, KroneckerSum)
        return _Removal(weights, columns, Quadratic.of(curvature, self.damping, self.guard))
