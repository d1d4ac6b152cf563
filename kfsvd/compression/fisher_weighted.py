"""Generalized Fisher-weighted SVD (Chekalina et al. 2025): the error weighed by a Kronecker product."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kfsvd.compression.base import LowRank, kronecker
from kfsvd.curvature.kronecker_sum import KroneckerSum
from kfsvd.inverse.damping import damped_factors
from kfsvd.linalg.cholesky import cholesky
from kfsvd.linalg.finite import all_finite
from kfsvd.options.compression import OneProduct

if TYPE_CHECKING:
    from torch import Tensor

    from kfsvd.network.samples import LayerSamples


@dataclass(frozen=True)
class FisherWeighted(LowRank, OneProduct):
    """Min δᵀ(X⊗Y) δ over W_r = W + δ of rank r, with X = L_in L_inᵀ and Y = L_out L_outᵀ from F̂ = X⊗Y.

    The bias stays as it is, so that X is without its row and column.

    Args:
        approximation: a name in `kfsvd.APPROXIMATIONS` whose F̂ is one Kronecker product; in the paper the KPSVD.
        damping: X and Y are raised by √damping of their mean eigenvalues to be positive definite.

    Raises:
        ValueError: no approximation has that name, or its F̂ has another form.

    """

    name = "gfwsvd"

    def __post_init__(self) -> None:
        super().__post_init__()
        if kronecker(self.approximation).products != 1:
            raise ValueError(
                f"approximation must give a single Kronecker product, which {self.approximation!r} does not"
            )

    def roots(self, weight: Tensor, samples: LayerSamples | None) -> tuple[Tensor | None, Tensor | None]:
        """Cholesky factors of X and Y; none where the Fisher block is zero.

        Raises:
            FloatingPointError: a sample is not finite.

        """
        assert samples is not None
        curvature = kronecker(self.approximation).fit(samples)
        assert isinstance(curvature, KroneckerSum)
        ((a, y),) = curvature.terms
        x, y = a.double()[: weight.shape[1], : weight.shape[1]], y.double()
        if not all_finite([x, y]):
            raise FloatingPointError("the curvature is not finite: activations or gradients are NaN or out of range")
        scale = float(x.diagonal().mean() * y.diagonal().mean())
        if not scale > 0:
            return None, None
        x, y = damped_factors(x, y, self.damping * scale, None)
        return cholesky(x), cholesky(y)
