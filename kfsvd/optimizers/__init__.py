"""Drop-in torch optimizers: one class and one line each."""

from __future__ import annotations

from kfsvd.optimizers.kronecker import KFAC, KPSVD, TKFAC, Deflation, KFACCorrected, Lanczos
from kfsvd.optimizers.natural_gradient import NaturalGradient

OPTIMIZERS: dict[str, type[NaturalGradient]] = {
    "kfac": KFAC,
    "kpsvd": KPSVD,
    "deflation": Deflation,
    "lanczos": Lanczos,
    "kfac_corrected": KFACCorrected,
    "tkfac": TKFAC,
}

__all__ = ["KFAC", "KPSVD", "OPTIMIZERS", "TKFAC", "Deflation", "KFACCorrected", "Lanczos", "NaturalGradient"]
