"""Approximations of a layer's Fisher block by sums of Kronecker products: one file and one line each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kfsvd.approximations.deflation import deflation
from kfsvd.approximations.kfac import kfac
from kfsvd.approximations.kfac_corrected import kfac_corrected
from kfsvd.approximations.kpsvd import kpsvd
from kfsvd.approximations.lanczos import lanczos
from kfsvd.approximations.tkfac import tkfac

if TYPE_CHECKING:
    from collections.abc import Callable

    from kfsvd.kronecker import KroneckerSum
    from kfsvd.samples import LayerSamples

APPROXIMATIONS: dict[str, Callable[[LayerSamples], KroneckerSum]] = {
    "kfac": kfac,
    "kpsvd": kpsvd,
    "deflation": deflation,
    "lanczos": lanczos,
    "kfac_corrected": kfac_corrected,
    "tkfac": tkfac,
}


def fit(method: str, samples: LayerSamples) -> KroneckerSum:
    """Fit an approximation F̂ to the Fisher block of `samples`.

    Args:
        method: a name in `APPROXIMATIONS`.
        samples: the layer's activations and sampled gradients.

    Raises:
        ValueError: no approximation has that name.

    """
    if method not in APPROXIMATIONS:
        raise ValueError(f"method must be one of {', '.join(APPROXIMATIONS)}; got {method!r}")
    return APPROXIMATIONS[method](samples)
