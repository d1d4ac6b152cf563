"""Operations of two-level KFAC's correction across layers (`kfsvd.optimizers.coarse`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from suite.cost.inverting import combine, project
from suite.cost.operations import FLOAT64, calls, cholesky, eigenpairs, elementwise, product, repeated

if TYPE_CHECKING:
    from suite.cost.operations import Operation
    from suite.cost.shapes import LayerShape


def fisher_product(layer: LayerShape, samples: int) -> list[Operation]:
    """A layer's part of (F + λI) v."""
    return [*project(layer, samples), *combine(layer, samples), elementwise(4 * layer.numbers), calls(1)]


def spectral_basis(layer: LayerShape, vectors: int) -> list[Operation]:
    """The leading eigenvectors of A⊗G, as matrices."""
    found = [*eigenpairs(layer.d_in), *eigenpairs(layer.d_out)]
    return [*found, elementwise(3 * layer.numbers, 2), elementwise(4 * vectors * layer.numbers), calls(12)]


def coarse_part(layer: LayerShape, samples: int, vectors: int) -> list[Operation]:
    """What a layer adds to the coarse system, and its part of the correction."""
    n = layer.numbers
    unit = [elementwise(7 * n, 3), calls(4)]  # norm, product, stack
    cast = elementwise((1 + 2 * FLOAT64) * n * (vectors + 1), 2)
    gram = product(vectors, n, vectors, double=True)
    right = elementwise(2 * FLOAT64 * vectors * n)
    images = [*repeated(unit, vectors), *repeated(project(layer, samples), vectors)]
    return [*images, cast, gram, right, product(1, vectors, n), elementwise(8 * n, 2), calls(12)]


def coarse_system(vectors: int, samples: int) -> list[Operation]:
    """R₀(F + λI)R₀ᵀ of all layers' vectors, and its solution."""
    weighted = elementwise(7 * FLOAT64 * samples * vectors, 2)
    return [weighted, product(vectors, samples, vectors, double=True), cholesky(vectors, double=True), calls(25)]
