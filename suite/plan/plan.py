"""What `run`, `plan`, `status` and `report` share: the cells of a spec, and what the store knows of them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from suite.environment import library_fingerprint
from suite.plan.cells import cells, compressions
from suite.plan.select import select
from suite.plan.stage import Stage
from suite.spec.reading import load_spec

if TYPE_CHECKING:
    from pathlib import Path

    from suite.cell import Cell
    from suite.spec.reading import Spec
    from suite.store import Store


@dataclass(frozen=True, eq=False)
class Matrix:
    """A spec, what is selected of it, and the sources that a result must stem from to count."""

    spec: Spec
    selection: str | None
    fingerprint: str | None  # None: results of any sources count

    @property
    def cells(self) -> list[Cell]:
        """The selected cells before anything is measured."""
        return self.stage(None).cells

    def stage(self, store: Store | None) -> Stage:
        """The selected cells by what is measured in a store.

        Raises:
            SpecError: two cells have the same content under different labels.
            SuiteError: the selection is not valid; Optuna is not installed and the tuning is by TPE.

        """
        stage = self._whole(store)
        if self.selection is None:
            return stage
        chosen = set(map(id, select(stage.cells, self.selection)))
        trials, finals, waiting, compressions = (
            [cell for cell in some if id(cell) in chosen]
            for some in (stage.trials, stage.finals, stage.waiting, stage.compressions)
        )
        return Stage(stage.studies, trials, finals, waiting, compressions)

    @cached_property
    def _finals(self) -> list[Cell]:
        """Made once: ten thousand cells and their keys take a moment."""
        return cells(self.spec)

    @cached_property
    def _compressions(self) -> list[Cell]:
        return compressions(self.spec, self._finals)

    def _whole(self, store: Store | None) -> Stage:
        if self.spec.tuning is None:
            return Stage((), [], self._finals, [], self._compressions)
        from suite.plan.outcomes import outcomes_in
        from suite.plan.studies import tune

        tuned = tune(self.spec, self.spec.tuning, self._finals, outcomes_in(store, self.fingerprint))
        waiting = [*tuned.waiting, *compressions(self.spec, tuned.waiting)]
        return Stage(tuned.studies, tuned.trials, tuned.finals, waiting, compressions(self.spec, tuned.finals))


def load_matrix(
    path: Path, selection: str | None = None, *, any_sources: bool = False, allow_import: bool = False
) -> Matrix:
    """Read a spec, expand and select its cells; its warnings go to standard error.

    With `allow_import` its import paths are followed.

    Raises:
        SpecError: the spec is not valid.
        SuiteError: the selection is not.

    """
    spec = load_spec(path, allow_import=allow_import)
    for warning in spec.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    matrix = Matrix(spec, selection, None if any_sources else library_fingerprint())
    matrix.stage(None)  # says at once what is wrong with the selection
    return matrix
