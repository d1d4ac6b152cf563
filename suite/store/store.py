"""The store's one writer, and what `run`, `plan` and `status` ask of it."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import platform
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from suite.store.tables import (
    EnvironmentRow,
    EvaluationRow,
    Experiment,
    FisherErrorRow,
    InverseRankRow,
    IterationRow,
    RunRow,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import Connection

    from suite.environment import Environment
    from suite.matrix import Cell
    from suite.records import Records

_Row = TypeVar("_Row", Experiment, EnvironmentRow, RunRow)

MEASURED = ("done", "diverged")
"""The statuses of runs that are results; all others are attempts."""

DEAD_SECONDS = 60.0
"""A running run whose heartbeat is older is taken to be left behind by a process that died."""

_COLUMNS = {
    IterationRow: [column.name for column in IterationRow.__table__.columns],
    EvaluationRow: [column.name for column in EvaluationRow.__table__.columns],
    FisherErrorRow: [column.name for column in FisherErrorRow.__table__.columns],
    InverseRankRow: [column.name for column in InverseRankRow.__table__.columns],
}


class Store:
    """Runs and their records, through one connection.

    Records are buffered by `append` and written by `flush`; everything else is written at once.
    """

    def __init__(self, connection: Connection) -> None:
        self.session = Session(connection, expire_on_commit=False)
        self._buffers: dict[type, list[dict[str, Any]]] = {table: [] for table in _COLUMNS}
        self._running: dict[int, float] = {}  # run → when it began, by the monotonic clock
        self._host = platform.node() or "unknown"

    def experiment(self, name: str, text: str) -> int:
        """The number of a specification; a new one for a new text."""
        digest = hashlib.sha256(text.encode()).hexdigest()
        found = self.session.scalar(sa.select(Experiment.id).where(Experiment.text_hash == digest))
        if found is not None:
            return found
        return self._insert(Experiment(name=name, text_hash=digest, text=text, first_run_at=_now())).id

    def environment(self, environment: Environment) -> int:
        """The number of an environment; a new one where anything about it is new."""
        content = asdict(environment)
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        found = self.session.scalar(sa.select(EnvironmentRow.id).where(EnvironmentRow.content_hash == digest))
        return found if found is not None else self._insert(EnvironmentRow(content_hash=digest, **content)).id

    def begin(
        self, cell: Cell, *, experiment: int, environment: int, fingerprint: str, device: str, contended: bool
    ) -> int:
        """Record that a cell is being run; the number of the run.

        Args:
            cell: what is run.
            experiment: from `experiment`.
            environment: from `environment`.
            fingerprint: of the sources of `kfsvd`.
            device: the slot's name.
            contended: whether other cells run beside it on this machine.

        """
        row = RunRow(
            experiment_id=experiment,
            environment_id=environment,
            cell_key=cell.key,
            group_key=cell.group_key,
            fingerprint=fingerprint,
            optimizer=cell.optimizer,
            dataset=cell.dataset,
            seed=cell.seed,
            definition=cell.definition,
            status="running",
            device=device,
            contended=contended,
            started_at=_now(),
            heartbeat_at=_now(),
            owner_host=self._host,
            owner_pid=os.getpid(),
        )
        run = self._insert(row).id
        self._running[run] = time.monotonic()
        return run

    def describe(
        self,
        run: int,
        *,
        problem: str,
        pixels: int,
        floor: float | None,
        test_floor: float | None,
        parameters: int,
        reference_seconds: float,
    ) -> None:
        """Add what is known once a run's data are loaded: so that a report needs no data sets."""
        self._update(
            run,
            problem=problem,
            pixels=pixels,
            floor=floor,
            test_floor=test_floor,
            parameters=parameters,
            reference_seconds=reference_seconds,
        )

    def append(self, run: int, records: Records) -> None:
        """Buffer records of a run for the next `flush`."""
        for table, rows in (
            (IterationRow, records.iterations),
            (EvaluationRow, records.evaluations),
            (FisherErrorRow, records.fisher_errors),
            (InverseRankRow, records.inverse_ranks),
        ):
            columns = _COLUMNS[table]
            self._buffers[table].extend(dict(zip(columns, (run, *map(_null, row)), strict=True)) for row in rows)

    def flush(self) -> None:
        """Write and commit what is buffered, and stamp the heartbeat of every run at work.

        What cannot be written, because the database is locked or full, stays buffered for the next flush.
        """
        try:
            for table, rows in self._buffers.items():
                if rows:
                    self.session.execute(sa.insert(table.__table__), rows)  # type: ignore[attr-defined]
            if self._running:
                alive = sa.update(RunRow).where(RunRow.id.in_(list(self._running))).values(heartbeat_at=_now())
                self.session.execute(alive)
            self.session.commit()
        except DBAPIError:
            self.session.rollback()
            raise
        for rows in self._buffers.values():
            rows.clear()

    def finish(self, run: int, status: str, error: str | None = None, peak_memory: int | None = None) -> None:
        """End a run, with everything that was appended to it."""
        self.flush()
        self._update(
            run,
            status=status,
            error=error,
            peak_memory_bytes=peak_memory,
            ended_at=_now(),
            wall_seconds=time.monotonic() - self._running[run],
        )
        del self._running[run]

    def sweep(self) -> int:
        """Mark the runs that a dead process left behind as interrupted at their last sign of life.

        Returns:
            How many there were.

        """
        rows = self.session.scalars(sa.select(RunRow).where(RunRow.status == "running")).all()
        dead = [row.id for row in rows if row.id not in self._running and self._is_dead(row)]
        if dead:
            self.session.execute(
                sa.update(RunRow).where(RunRow.id.in_(dead)).values(status="interrupted", ended_at=RunRow.heartbeat_at)
            )
        self.session.commit()
        return len(dead)

    def measured(self, keys: Sequence[str], fingerprint: str | None) -> dict[str, RunRow]:
        """The latest run with a result of each cell that has one.

        Args:
            keys: of cells.
            fingerprint: of the sources of `kfsvd` that a result must stem from; None for any.

        """
        return self._latest(keys, RunRow.status.in_(MEASURED), fingerprint)

    def latest(self, keys: Sequence[str]) -> dict[str, RunRow]:
        """The latest attempt at each cell, whatever became of it."""
        return self._latest(keys, sa.true(), None)

    def durations(self) -> dict[str, float]:
        """Mean wall-clock seconds of measured runs, by `Cell.group_key`."""
        query = (
            sa.select(RunRow.group_key, sa.func.avg(RunRow.wall_seconds))
            .where(RunRow.status.in_(MEASURED))
            .group_by(RunRow.group_key)
        )
        return {key: float(seconds) for key, seconds in self.session.execute(query) if seconds is not None}

    def environments(self, runs: Iterable[RunRow]) -> list[EnvironmentRow]:
        """The environments that some runs were measured in, in the order of their numbers."""
        numbers = {run.environment_id for run in runs}
        query = sa.select(EnvironmentRow).where(EnvironmentRow.id.in_(numbers)).order_by(EnvironmentRow.id)
        return list(self.session.scalars(query))

    def _latest(
        self, keys: Sequence[str], condition: sa.ColumnElement[bool], fingerprint: str | None
    ) -> dict[str, RunRow]:
        found: dict[str, RunRow] = {}
        for some in _batched(keys, 500):
            query = sa.select(RunRow).where(RunRow.cell_key.in_(some), condition).order_by(RunRow.id)
            if fingerprint is not None:
                query = query.where(RunRow.fingerprint == fingerprint)
            found.update((row.cell_key, row) for row in self.session.scalars(query))
        self.session.rollback()  # a reader holds no snapshot longer than it reads
        return found

    def _is_dead(self, row: RunRow) -> bool:
        heartbeat = row.heartbeat_at if row.heartbeat_at.tzinfo else row.heartbeat_at.replace(tzinfo=dt.UTC)
        if (_now() - heartbeat).total_seconds() > DEAD_SECONDS:
            return True
        return row.owner_host == self._host and not _is_alive(row.owner_pid)

    def _insert(self, row: _Row) -> _Row:
        self.session.add(row)
        self.session.commit()
        return row

    def _update(self, run: int, **values: Any) -> None:
        self.session.execute(sa.update(RunRow).where(RunRow.id == run).values(**values))
        self.session.commit()


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _null(value: Any) -> Any:
    """NaN as NULL: no database compares or averages a NaN as one would wish."""
    return None if value != value else value


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # not ours to signal, but there
        return True
    return True


def _batched(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
