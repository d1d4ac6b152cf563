"""The cells of a spec as far as its tuning goes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from suite.cell import Cell
    from suite.plan.studies import Study


@dataclass(frozen=True, eq=False)
class Stage:
    """Trials, and what follows from them; without tuning, all cells are final."""

    studies: Sequence[Study]
    trials: list[Cell]
    finals: list[Cell]
    waiting: list[Cell]  # final cells whose setting is not chosen yet; another stands in
    compressions: list[Cell] = field(default_factory=list)  # of the networks that final cells train

    @property
    def cells(self) -> list[Cell]:
        """All of them."""
        return [*self.trials, *self.measured, *self.waiting]

    @property
    def known(self) -> list[Cell]:
        """Those whose setting is known: trials first."""
        return [*self.trials, *self.measured]

    @property
    def measured(self) -> list[Cell]:
        """What is measured with settings that are known: final cells, then compressions."""
        return [*self.finals, *self.compressions]
