"""The public names of `kfsvd.compression`."""

from kfsvd.compression.base import Factors, LowRank, Pruning, Removal
from kfsvd.compression.compress import low_rank, prune
from kfsvd.compression.factoring import rank_of
from kfsvd.compression.fisher_weighted import FisherWeighted
from kfsvd.compression.magnitude import Magnitude
from kfsvd.compression.masks import Masks
from kfsvd.compression.quadratic import Quadratic
from kfsvd.compression.registry import LOW_RANKS, PRUNINGS
from kfsvd.compression.row_weighted import RowWeighted
from kfsvd.compression.surgeon import Surgeon
from kfsvd.compression.svd import SVD
from kfsvd.options.choices import Structure

__all__ = [
    "LOW_RANKS",
    "PRUNINGS",
    "SVD",
    "Factors",
    "FisherWeighted",
    "LowRank",
    "Magnitude",
    "Masks",
    "Pruning",
    "Quadratic",
    "Removal",
    "RowWeighted",
    "Structure",
    "Surgeon",
    "low_rank",
    "prune",
    "rank_of",
]
