"""Natural-gradient optimizers whose curvature is a Kronecker approximation of the Fisher matrix."""

from kfsvd.approximations import APPROXIMATIONS, fit
from kfsvd.capture import capture
from kfsvd.fisher import best_relative_error, relative_error
from kfsvd.inverse import IndefiniteError
from kfsvd.kronecker import KroneckerSum
from kfsvd.likelihoods import negative_log_likelihood
from kfsvd.optimizers import KFAC, KPSVD, TKFAC, Deflation, KFACCorrected, Lanczos, NaturalGradient
from kfsvd.samples import LayerSamples

__version__ = "0.1.0"

__all__ = [
    "APPROXIMATIONS",
    "KFAC",
    "KPSVD",
    "TKFAC",
    "Deflation",
    "IndefiniteError",
    "KFACCorrected",
    "KroneckerSum",
    "Lanczos",
    "LayerSamples",
    "NaturalGradient",
    "best_relative_error",
    "capture",
    "fit",
    "negative_log_likelihood",
    "relative_error",
]
