"""Results of trials, looked up in a store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from suite.plan.trials import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from suite.cell import Cell
    from suite.plan.studies import Outcomes
    from suite.store import Store


def outcomes_in(store: Store | None, fingerprint: str | None) -> Outcomes:
    """Looks cells up in a store; without one, nothing is measured.

    Args:
        store: where the measurements are.
        fingerprint: of the sources of kfsvd that results must stem from; None for any.

    """

    def outcomes(cells: Sequence[Cell]) -> Mapping[str, Outcome]:
        if store is None:
            return {}
        from suite.store import queries

        found = {}
        for key, run in store.measured([cell.key for cell in cells], fingerprint).items():
            course = queries.evaluations(store, run.id)
            found[key] = Outcome(course.iteration, course.seconds, course.train_loss, run.status == "diverged")
        return found

    return outcomes
