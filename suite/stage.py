"""The cells of a spec as far as its tuning goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from suite.matrix import Cell
    from suite.tuning.studies import Study


@dataclass(frozen=True, eq=False)
class Stage:
    """Trials, and what follows from them; without tuning, all cells are final."""

    studies: Sequence[Study]
    trials: list[Cell]
    finals: list[Cell]
    waiting: list[Cell]  # final cells whose setting is not chosen yet; another stands in

    @property
    def cells(self) -> list[Cell]:
        """All of them."""
        return [*self.trials, *self.finals, *self.waiting]

    @property
    def known(self) -> list[Cell]:
        """Those whose setting is known: trials first."""
        return [*self.trials, *self.finals]
