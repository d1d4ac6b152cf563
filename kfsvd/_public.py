"""The public names of `kfsvd`."""

# fit an approximation of a Fisher block, and measure it
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

# optimizers
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

# their rare options
from kfsvd.options import CurvatureBatch, Damping, KLClip, LearningRate, LowRank, Refresh

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
    "CurvatureBatch",
    "Damping",
    "Deflation",
    "Eva",
    "ExactNaturalGradient",
    "IndefiniteError",
    "KFACCorrected",
    "KLClip",
    "KroneckerEigenbasis",
    "KroneckerSum",
    "Lanczos",
    "LayerSamples",
    "LearningRate",
    "LowRank",
    "MatrixOptimizer",
    "Muon",
    "NaturalGradient",
    "Refresh",
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
