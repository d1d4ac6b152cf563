"""Drop-in torch optimizers: one class and one line each."""

from __future__ import annotations

from kfsvd.optimizers.exact import ExactNaturalGradient
from kfsvd.optimizers.kronecker import EKFAC, KFAC, KPSVD, TKFAC, Deflation, KFACCorrected, Lanczos
from kfsvd.optimizers.natural_gradient import NaturalGradient

OPTIMIZERS: dict[str, type[NaturalGradient]] = {
    "kfac": KFAC,
    "kpsvd": KPSVD,
    "deflation": Deflation,
    "lanczos": Lanczos,
    "kfac_corrected": KFACCorrected,
    "tkfac": TKFAC,
    "ekfac": EKFAC,
    "exact": ExactNaturalGradient,
}

__all__ = [
    "EKFAC",
    "KFAC",
    "KPSVD",
    "OPTIMIZERS",
    "TKFAC",
    "Deflation",
    "ExactNaturalGradient",
    "KFACCorrected",
    "Lanczos",
    "NaturalGradient",
]
