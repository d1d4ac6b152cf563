"""Operations of K-BFGS beside those of a natural gradient: a second look at the batch, and updates of both inverses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from suite.cost.moments import means
from suite.cost.operations import calls, elementwise, symmetrised

if TYPE_CHECKING:
    from suite.cost.operations import Operation
    from suite.cost.shapes import LayerShape


def learning(layer: LayerShape, samples: int) -> list[Operation]:
    """H_a and H_g after a step, from the means before and after it."""
    both = [*means(layer, samples), elementwise(4 * layer.numbers, 2), calls(5)] * 2  # with those of W ā
    damped = elementwise(layer.d_in**2 * 2 + layer.d_out**2, 3)  # H_a ā, A s and H_g y
    return [*both, damped, calls(35), *_updated(layer.d_in), *_updated(layer.d_out)]


def _updated(n: int) -> list[Operation]:
    """(I − ρ s yᵀ) H (I − ρ y sᵀ) + ρ s sᵀ, and H as it was where that is not finite."""
    changed = elementwise(19 * n**2, 7)  # H y, two outer products, each scaled, and two sums
    sound = elementwise(10 * n**2, 5)
    return [changed, symmetrised(n), sound, calls(14)]
