"""What `status` and `logs` ask of a store: attempts at cells, those at work with how far they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from suite.store.tables import IterationRow, RunRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from suite.store.store import Store


class Progress(NamedTuple):
    """The last iteration of a run that is flushed."""

    iteration: int
    loss: float | None
    seconds: float  # the training clock
    epoch: float


def progress(store: Store, run: int) -> Progress | None:
    """How far a run is; None where nothing of it is flushed yet."""
    table: Any = IterationRow.__table__
    columns = [table.c[name] for name in Progress._fields]
    query = sa.select(*columns).where(table.c.run_id == run).order_by(table.c.iteration.desc()).limit(1)
    row = store.session.execute(query).first()
    store.session.rollback()
    if row is None:
        return None
    iteration, loss, seconds, epoch = row
    return Progress(int(iteration), None if loss is None else float(loss), float(seconds), float(epoch))


def attempts(store: Store, key: str = "") -> list[RunRow]:
    """The latest attempt at every cell whose key begins so, in the order of their numbers."""
    mine = RunRow.cell_key.startswith(key, autoescape=True)
    query = sa.select(RunRow).where(mine).order_by(RunRow.started_at, RunRow.id)
    latest = {run.cell_key: run for run in store.session.scalars(query)}
    store.session.expunge_all()  # the end of a transaction would expire them
    store.session.rollback()
    return sorted(latest.values(), key=lambda run: run.id)


def at_work(runs: Sequence[RunRow]) -> list[RunRow]:
    """Those that are running, by host, process and device."""
    running = [run for run in runs if run.status == "running"]
    return sorted(running, key=lambda run: (run.owner_host, run.owner_pid, run.device))
