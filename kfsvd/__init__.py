"""Natural-gradient optimizers whose curvature is a Kronecker approximation of the Fisher matrix."""

from kfsvd.approximations import APPROXIMATIONS, Approximation, fit
from kfsvd.capture import capture
from kfsvd.cholesky import IndefiniteError
from kfsvd.cost import Cost, Rates, calibrate, step_cost
from kfsvd.curvature import Curvature
from kfsvd.eigenbasis import KroneckerEigenbasis
from kfsvd.exact import SampledFisher, natural_gradient
from kfsvd.fisher import (
    best_relative_error,
    direction_efficiency,
    network_error,
    relative_error,
    spectrum_error,
)
from kfsvd.kronecker import KroneckerSum
from kfsvd.likelihoods import negative_log_likelihood
from kfsvd.optimizers import (
    EKFAC,
    FOOF,
    KBFGS,
    KFAC,
    KPSVD,
    SOAP,
    SWAN,
    TKFAC,
    TNT,
    Deflation,
    Eva,
    ExactNaturalGradient,
    KFACCorrected,
    Lanczos,
    MatrixOptimizer,
    Muon,
    NaturalGradient,
    Shampoo,
    ShampooSquared,
    TwoLevelKFAC,
)
from kfsvd.samples import LayerSamples

__version__ = "0.1.0"

__all__ = [
    "APPROXIMATIONS",
    "EKFAC",
    "FOOF",
    "KBFGS",
    "KFAC",
    "KPSVD",
    "SOAP",
    "SWAN",
    "TKFAC",
    "TNT",
    "Approximation",
    "Cost",
    "Curvature",
    "Deflation",
    "Eva",
    "ExactNaturalGradient",
    "IndefiniteError",
    "KFACCorrected",
    "KroneckerEigenbasis",
    "KroneckerSum",
    "Lanczos",
    "LayerSamples",
    "MatrixOptimizer",
    "Muon",
    "NaturalGradient",
    "Rates",
    "SampledFisher",
    "Shampoo",
    "ShampooSquared",
    "TwoLevelKFAC",
    "best_relative_error",
    "calibrate",
    "capture",
    "direction_efficiency",
    "fit",
    "natural_gradient",
    "negative_log_likelihood",
    "network_error",
    "relative_error",
    "spectrum_error",
    "step_cost",
]
