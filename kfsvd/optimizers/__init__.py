"""Drop-in torch optimizers: one class and one line each. The classes are imported when they are asked for."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from kfsvd.approximations import APPROXIMATIONS
from kfsvd.options import matrices
from kfsvd.options.declare import declared
from kfsvd.options.natural_gradient import EVA, EXACT, KBFGS, ExactOptions, Options, TwoLevelOptions
from kfsvd.options.registry import Entry, Registry

if TYPE_CHECKING:
    from kfsvd.optimizers.matrices import MatrixOptimizer
    from kfsvd.optimizers.natural_gradient import NaturalGradient
    from kfsvd.options.declare import Declared

_KRONECKER = "kfsvd.optimizers.kronecker"

OPTIMIZERS: Registry[NaturalGradient] = Registry(
    {
        "kfac": Entry(
            f"{_KRONECKER}:KFAC", "F̂ = E[aaᵀ]⊗E[ggᵀ] (Martens & Grosse 2015).", Options, approximation="kfac"
        ),
        "kpsvd": Entry(
            f"{_KRONECKER}:KPSVD",
            "F̂ = R⊗S, the best single Kronecker product (Koroko et al. 2022).",
            Options,
            approximation="kpsvd",
        ),
        "deflation": Entry(
            f"{_KRONECKER}:Deflation",
            "The best two Kronecker products, one after the other (Koroko et al. 2022).",
            Options,
            approximation="deflation",
        ),
        "lanczos": Entry(
            f"{_KRONECKER}:Lanczos",
            "The best two Kronecker products, jointly (Koroko et al. 2022).",
            Options,
            approximation="lanczos",
        ),
        "kfac_corrected": Entry(
            f"{_KRONECKER}:KFACCorrected",
            "KFAC plus the best Kronecker product for what it leaves (Koroko et al. 2022).",
            Options,
            approximation="kfac_corrected",
        ),
        "tkfac": Entry(
            f"{_KRONECKER}:TKFAC",
            "A single Kronecker product of the Fisher matrix's own trace (Gao et al. 2021).",
            Options,
            approximation="tkfac",
        ),
        "ekfac": Entry(
            f"{_KRONECKER}:EKFAC",
            "The exact diagonal of the Fisher matrix in a Kronecker eigenbasis (George et al. 2018).",
            Options,
            approximation="ekfac",
        ),
        "exact": Entry(
            "kfsvd.optimizers.exact:ExactNaturalGradient",
            "The exact natural gradient of the sampled Fisher matrix, by Woodbury's identity.",
            ExactOptions,
            EXACT,
            approximation="exact",
        ),
        "foof": Entry(
            f"{_KRONECKER}:FOOF",
            "The inputs' second moment alone, F̂ = E[aaᵀ]⊗I: gradient descent on neurons (Benzing 2022).",
            Options,
            approximation="foof",
        ),
        "tnt": Entry(
            f"{_KRONECKER}:TNT",
            "Tensor-normal training: one Kronecker product from gradients of whole batches (Ren & Goldfarb 2021).",
            Options,
            approximation="tnt",
        ),
        "eva": Entry(
            f"{_KRONECKER}:Eva",
            "A curvature of rank one from running means of inputs and gradients (Zhang, Shi & Li 2023).",
            Options,
            EVA,
            approximation="eva",
        ),
        "kbfgs": Entry(
            "kfsvd.optimizers.kbfgs:KBFGS",
            "Kronecker-factored BFGS: both factors' inverses learned from vectors alone "
            "(Goldfarb, Ren & Bahamou 2020).",
            Options,
            KBFGS,
            {"fisher": ("empirical",), "inverse": ("dense",)},
        ),
        "two_level_kfac": Entry(
            "kfsvd.optimizers.two_level:TwoLevelKFAC",
            "KFAC with a coarse correction across layers (Koroko et al. 2023).",
            TwoLevelOptions,
        ),
    }
)
"""Those of natural gradient, by the names that specifications give them."""

MATRIX_OPTIMIZERS: Registry[MatrixOptimizer] = Registry(
    {
        "shampoo": Entry(
            "kfsvd.optimizers.shampoo:Shampoo",
            "Inverse fourth roots of the gradients' second moments, rows and columns (Gupta, Koren & Singer 2018).",
            matrices.ShampooOptions,
            matrices.SHAMPOO,
        ),
        "shampoo_squared": Entry(
            "kfsvd.optimizers.shampoo:ShampooSquared",
            "Inverse square roots of the same moments, of their own trace: one power step of KPSVD "
            "(Morwani et al. 2024).",
            matrices.ShampooOptions,
            matrices.SHAMPOO_SQUARED,
        ),
        "swan": Entry(
            "kfsvd.optimizers.swan:SWAN",
            "Gradients normalised by rows and whitened, without state (Ma et al. 2024); biases by AdamW.",
            matrices.SWANOptions,
        ),
        "soap": Entry(
            "kfsvd.optimizers.soap:SOAP",
            "Adam in Shampoo's eigenbasis (Vyas et al. 2024); biases by AdamW.",
            matrices.SOAPOptions,
            matrices.SOAP,
        ),
        "muon": Entry(
            "kfsvd.optimizers.muon:Muon",
            "Momentum, orthogonalised (Jordan et al. 2024), by torch's own `torch.optim.Muon`; biases by AdamW.",
            matrices.MuonOptions,
            matrices.MUON,
        ),
    }
)
"""Those made of gradients alone."""

__all__ = ["MATRIX_OPTIMIZERS", "OPTIMIZERS", "entries", "options_of"]


def entries() -> dict[str, Entry]:
    """Every optimizer by name, and every approximation that has no optimizer of its own; nothing is loaded."""
    alone = {
        name: Entry("", _first_sentence(kind), Options, approximation=name)
        for name, kind in APPROXIMATIONS.items()
        if name not in OPTIMIZERS
    }
    return {**OPTIMIZERS.entries, **MATRIX_OPTIMIZERS.entries, **alone}


def options_of(entry: Entry) -> tuple[dict[str, Declared], dict[str, tuple[str, ...]]]:
    """The options of an optimizer by flat name, and for some of them the only values that it takes.

    Args:
        entry: of the optimizer.

    """
    choices = dict(entry.choices)
    own: dict[str, Declared] = {}
    if entry.approximation:
        kind = APPROXIMATIONS[entry.approximation]
        own, method = declared(kind), kind()
        choices |= {
            "damping_rule": method.damping_rules,
            "inverse": method.inverses,
            "averaging": method.averagings,
        }
    return {**entry.flat(), **own}, choices


def _first_sentence(kind: type) -> str:
    return (inspect.getdoc(kind) or "").split("\n\n")[0].replace("\n", " ")
