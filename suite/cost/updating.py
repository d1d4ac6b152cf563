"""Operations of changing the parameters: of SGD and Adam, and what the natural gradient does beside its products."""

from __future__ import annotations

from typing import TYPE_CHECKING

from suite.cost.operations import calls, elementwise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from suite.cost.operations import Operation


def sgd(parameters: Sequence[int], *, momentum: bool, decayed: bool) -> list[Operation]:
    """`torch.optim.SGD`: the momentum's two passes, the step, and the decay added to the gradient."""
    moved = 3 + 5 * momentum + 4 * decayed
    return [*(elementwise(moved * n, 1 + 2 * momentum + decayed) for n in parameters), calls(8)]


def adam(parameters: Sequence[int], *, decayed: bool) -> list[Operation]:
    """`torch.optim.Adam`: two running means, a root, a quotient and the step; 20 numbers moved for each."""
    moved = 20 + 2 * decayed
    return [*(elementwise(moved * n, 7 + decayed) for n in parameters), calls(2 * len(parameters) + 8)]


def moments_length(numbers: int) -> list[Operation]:
    """The length of Adam's step, by its own running means."""
    return [elementwise(22 * numbers, 9), calls(3)]


def finite(parameters: Sequence[int]) -> list[Operation]:
    """One sum of every gradient."""
    return [*(elementwise(n) for n in parameters), calls(len(parameters) + 20)]


def moved(numbers: int, *, decayed: bool) -> list[Operation]:
    """[∇W ∇b] put together, and the step made on weight and bias."""
    return [elementwise((6 + 2 * decayed) * numbers, 2 + decayed), calls(3)]
