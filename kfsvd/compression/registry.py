"""The methods of compression: one class and one line each. The classes are imported when they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kfsvd.options.compression import Damped, Nothing, OneProduct, TwoProducts
from kfsvd.options.registry import Entry, Registry

if TYPE_CHECKING:
    from kfsvd.compression.base import LowRank, Pruning

PRUNINGS: Registry[Pruning] = Registry(
    {
        "magnitude": Entry(
            "kfsvd.compression.magnitude:Magnitude",
            "The smallest weights go, by one threshold over all layers; the baseline of pruning.",
            Nothing,
        ),
        "surgeon": Entry(
            "kfsvd.compression.surgeon:Surgeon",
            "The LLM Surgeon (van der Ouderaa et al. 2023): the cheapest weights by F̂ go, the others make up for them.",
            TwoProducts,
        ),
    }
)
"""Every method of pruning by its name: its class, whose fields are its options."""

LOW_RANKS: Registry[LowRank] = Registry(
    {
        "svd": Entry(
            "kfsvd.compression.svd:SVD",
            "The truncated singular value decomposition of each weight; the baseline of low rank.",
            Nothing,
        ),
        "fwsvd": Entry(
            "kfsvd.compression.row_weighted:RowWeighted",
            "FWSVD (Hsu et al. 2022): rows count by the diagonal of the Fisher matrix.",
            Damped,
        ),
        "gfwsvd": Entry(
            "kfsvd.compression.fisher_weighted:FisherWeighted",
            "Generalized Fisher-weighted SVD (Chekalina et al. 2025): the error is weighed by F̂ = X⊗Y.",
            OneProduct,
        ),
    }
)
"""Every method of low rank by its name: its class, whose fields are its options."""
