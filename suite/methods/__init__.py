"""The optimizers that a spec can name: one line each, and those from outside."""

from suite.methods.base import Method
from suite.methods.first_order import SGD, Adam
from suite.methods.kronecker import (
    EKFAC,
    FOOF,
    KBFGS,
    KFAC,
    KPSVD,
    TKFAC,
    TNT,
    Deflation,
    Eva,
    Exact,
    KFACCorrected,
    Lanczos,
    TwoLevelKFAC,
)
from suite.methods.matrices import SOAP, SWAN, Muon, Shampoo, ShampooSquared
from suite.methods.singd import SINGD

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
    "foof": FOOF,
    "tnt": TNT,
    "eva": Eva,
    "kbfgs": KBFGS,
    "two_level_kfac": TwoLevelKFAC,
    "shampoo": Shampoo,
    "shampoo_squared": ShampooSquared,
    "swan": SWAN,
    "soap": SOAP,
    "muon": Muon,
    "singd": SINGD,
}


def method_named(name: str) -> type[Method]:
    """The method of that name in `METHODS`, of an installed entry point, or at an import path, imported here.

    Raises:
        PluginError: it cannot be imported or is no optimizer.

    """
    if name in METHODS:
        return METHODS[name]
    from suite.methods.foreign import foreign_method

    return foreign_method(name)


__all__ = ["METHODS", "Method", "method_named"]
