"""Operations of a refresh of F̂: fitting it to samples and averaging it with its past, by the approximation's name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kfsvd.averaging import WINDOW
from suite.cost.moments import eva, foof, kfac, tkfac, tnt
from suite.cost.operations import batched, calls, eigenpairs, elementwise, product
from suite.cost.singular_pairs import deflation, kfac_corrected, kpsvd, kpsvd_of_rank_1, lanczos, stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from kfsvd.approximations import Approximation
    from suite.cost.operations import Operation
    from suite.cost.shapes import LayerShape


def fitting(
    layer: LayerShape, approximation: Approximation, averaging: str, samples: int, decay: float
) -> list[Operation]:
    """Of a refresh of one layer, from `samples` new samples (a, g) on.

    Args:
        layer: its shape.
        approximation: a method named in `FITS`.
        averaging: "factors", "stream" or "samples".
        samples: of the new curvature batch.
        decay: the largest weight of the past.

    """
    fit = FITS[approximation.name]
    if averaging == "stream":
        return stream(layer, approximation, samples)
    if averaging == "samples":
        kept = window(samples, decay)
        pooled = merged(layer, samples, kept) if kept > 1 else []
        return [*pooled, *fit(layer, approximation, kept * samples)]
    averaged = AVERAGES.get(approximation.name, _factors)(layer, getattr(approximation, "rank", 1))
    return [*fit(layer, approximation, samples), *averaged]


def window(samples: int, decay: float) -> int:
    """The number of curvature batches that `averaging="samples"` keeps."""
    return max(1, WINDOW // samples) if decay > 0 else 1


def merged(layer: LayerShape, samples: int, batches: int) -> list[Operation]:
    """The samples of several curvature batches as one."""
    return [elementwise(3 * batches * samples * layer.positions * (layer.d_in + layer.d_out), 2), calls(11)]


def exact(_layer: LayerShape, _approximation: Approximation, _samples: int) -> list[Operation]:
    """Nothing: the samples are F̂."""
    return []


def ekfac(layer: LayerShape, approximation: Approximation, samples: int) -> list[Operation]:
    """The eigenpairs of a product's factors, and the diagonal of F in their basis."""
    rows, d_in, d_out = samples * layer.positions, layer.d_in, layer.d_out
    basis = kfac if approximation.basis == "kfac" else kpsvd_of_rank_1  # type: ignore[attr-defined]
    rotated = [product(rows, d_in, d_in), product(rows, d_out, d_out)]
    if layer.positions == 1:
        scales = [elementwise(3 * rows * (d_in + 2 * d_out), 3), product(d_out, rows, d_in)]
    else:
        scales = [batched(product(d_out, layer.positions, d_in), samples), elementwise(4 * samples * d_in * d_out)]
    return [*basis(layer, approximation, samples), *eigenpairs(d_in), *eigenpairs(d_out), *rotated, *scales, calls(10)]


def _factors(layer: LayerShape, rank: int) -> list[Operation]:
    """Every product factor by factor, a later one's sign aligned with its past, and a look at whether it is finite."""
    numbers = layer.d_in**2 + layer.d_out**2
    averaged = [elementwise(4 * numbers, 2)] * rank  # lerp
    aligned = [elementwise(2 * numbers, 2)] * (rank - 1)  # ⟨A, A_new⟩ + ⟨B, B_new⟩
    return [*averaged, *aligned, elementwise(rank * numbers, 2 * rank), calls(3)]


def _basis_and_diagonal(layer: LayerShape, rank: int) -> list[Operation]:
    """EKFAC's factors, and the past diagonal in a new basis, averaged."""
    d_in, d_out = layer.d_in, layer.d_out
    turned = [product(d_in, d_in, d_in), product(d_out, d_out, d_out), elementwise(3 * (d_in**2 + d_out**2), 2)]
    rotated = [product(d_out, d_out, d_in), product(d_out, d_in, d_in)]
    return [*_factors(layer, rank), *turned, *rotated, elementwise(4 * d_in * d_out)]


def _moments(layer: LayerShape, rank: int) -> list[Operation]:
    """TNT's moments: the past factors are scaled back to what they were made of."""
    return [*_factors(layer, rank), elementwise(3 * (layer.d_in**2 + layer.d_out**2), 2), calls(2)]


def _vectors(layer: LayerShape, _rank: int) -> list[Operation]:
    """Eva's two means, and a look at whether they are finite."""
    return [elementwise(5 * (layer.d_in + layer.d_out), 4), calls(3)]


FITS: dict[str, Callable[[LayerShape, Approximation, int], list[Operation]]] = {
    "kfac": kfac,
    "kpsvd": kpsvd,
    "deflation": deflation,
    "lanczos": lanczos,
    "kfac_corrected": kfac_corrected,
    "tkfac": tkfac,
    "ekfac": ekfac,
    "exact": exact,
    "foof": foof,
    "tnt": tnt,
    "eva": eva,
    "kbfgs": foof,
    "two_level_kfac": kfac,
}
"""By the approximation's name. A method whose name is here has a known cost."""

AVERAGES: dict[str, Callable[[LayerShape, int], list[Operation]]] = {
    "ekfac": _basis_and_diagonal,
    "tnt": _moments,
    "eva": _vectors,
}
"""Likewise, where F̂ is not averaged factor by factor."""
