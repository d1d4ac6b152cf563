"""The optimizers that a spec can name: one line each."""

from suite.methods.base import Method
from suite.methods.first_order import SGD, Adam
from suite.methods.kronecker import EKFAC, KFAC, KPSVD, TKFAC, Deflation, Exact, KFACCorrected, Lanczos

METHODS: dict[str, type[Method]] = {
    "sgd": SGD,
    "adam": Adam,
    "kfac": KFAC,
    "kpsvd": KPSVD,
    "deflation": Deflation,
    "lanczos": Lanczos,
    "kfac_corrected": KFACCorrected,
    "tkfac": TKFAC,
    "ekfac": EKFAC,
    "exact": Exact,
}

__all__ = ["METHODS", "Method"]
