"""The optimizers that a spec can name: one line each."""

from suite.methods.base import Method
from suite.methods.first_order import SGD, Adam
from suite.methods.kronecker import Kronecker

METHODS: dict[str, type[Method]] = {
    "sgd": SGD,
    "adam": Adam,
    "kfac": Kronecker,
    "kpsvd": Kronecker,
    "deflation": Kronecker,
    "lanczos": Kronecker,
    "kfac_corrected": Kronecker,
    "tkfac": Kronecker,
}

__all__ = ["METHODS", "Method"]
