"""Drop-in torch optimizers: one class and one line each."""

from __future__ import annotations

from kfsvd.optimizers.exact import ExactNaturalGradient
from kfsvd.optimizers.kbfgs import KBFGS
from kfsvd.optimizers.kronecker import EKFAC, FOOF, KFAC, KPSVD, TKFAC, TNT, Deflation, Eva, KFACCorrected, Lanczos
from kfsvd.optimizers.matrices import MatrixOptimizer
from kfsvd.optimizers.muon import Muon
from kfsvd.optimizers.natural_gradient import NaturalGradient
from kfsvd.optimizers.shampoo import Shampoo, ShampooSquared
from kfsvd.optimizers.soap import SOAP
from kfsvd.optimizers.swan import SWAN
from kfsvd.optimizers.two_level import TwoLevelKFAC

OPTIMIZERS: dict[str, type[NaturalGradient]] = {
    "kfac": KFAC,
    "kpsvd": KPSVD,
    "deflation": Deflation,
    "lanczos": Lanczos,
    "kfac_corrected": KFACCorrected,
    "tkfac": TKFAC,
    "ekfac": EKFAC,
    "exact": ExactNaturalGradient,
    "foof": FOOF,
    "tnt": TNT,
    "eva": Eva,
    "kbfgs": KBFGS,
    "two_level_kfac": TwoLevelKFAC,
}
"""Those of natural gradient, by the names that specifications give them."""

MATRIX_OPTIMIZERS: dict[str, type[MatrixOptimizer]] = {
    "shampoo": Shampoo,
    "shampoo_squared": ShampooSquared,
    "swan": SWAN,
    "soap": SOAP,
    "muon": Muon,
}
"""Those made of gradients alone."""

__all__ = [
    "EKFAC",
    "FOOF",
    "KBFGS",
    "KFAC",
    "KPSVD",
    "MATRIX_OPTIMIZERS",
    "OPTIMIZERS",
    "SOAP",
    "SWAN",
    "TKFAC",
    "TNT",
    "Deflation",
    "Eva",
    "ExactNaturalGradient",
    "KFACCorrected",
    "Lanczos",
    "MatrixOptimizer",
    "Muon",
    "NaturalGradient",
    "Shampoo",
    "ShampooSquared",
    "TwoLevelKFAC",
]
