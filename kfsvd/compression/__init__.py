"""Curvature put to use beyond training: pruning, and factors of low rank, by the same Kronecker sums.

Both change a model in place and need samples of its Fisher matrix, which a function of the model gives: it is called
anew before each shot of pruning.

    generator = torch.Generator().manual_seed(0)
    sample = lambda model: kfsvd.capture(model, [images], "bernoulli", generator)
    masks = prune(model, sample, ratio=0.2, method="surgeon", approximation="kpsvd", shots=4)
    masks.hold(model, optimizer)      # what is gone stays zero in training
    ranks = low_rank(model, sample, ratio=0.2, method="gfwsvd", approximation="kpsvd")

Which Fisher matrix it is, sampled, exact or empirical, is said by `kfsvd.capture`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kfsvd._lazy import public

if TYPE_CHECKING:
    from kfsvd.compression._public import *  # noqa: F403

__getattr__, __dir__ = public(__name__)
