"""Natural-gradient optimizers whose curvature is a Kronecker approximation of the Fisher matrix."""

from kfsvd.approximations import APPROXIMATIONS, Approximation, fit
from kfsvd.curvature.base import Curvature
from kfsvd.curvature.eigenbasis import KroneckerEigenbasis
from kfsvd.curvature.kronecker_sum import KroneckerSum
from kfsvd.curvature.sampled import SampledFisher, natural_gradient
from kfsvd.linalg.cholesky import IndefiniteError
from kfsvd.measures import (
    best_relative_error,
    direction_efficiency,
    network_error,
    relative_error,
    spectrum_error,
)
from kfsvd.network.capture import capture
from kfsvd.network.likelihoods import negative_log_likelihood
from kfsvd.network.samples import LayerSamples
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
    "SampledFisher",
    "Shampoo",
    "ShampooSquared",
    "TwoLevelKFAC",
    "best_relative_error",
    "capture",
    "direction_efficiency",
    "fit",
    "natural_gradient",
    "negative_log_likelihood",
    "network_error",
    "relative_error",
    "spectrum_error",
]


def __dir__() -> list[str]:
    """What a user needs, without the modules behind it."""
    return [*__all__, "compression", "__version__"]
