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
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from suite.store.disk import unhurried
from suite.store.faults import passes_by_itself
from suite.store.leases import RESERVED, Claim, Heartbeat, Owner, Pulses, is_dead
from suite.store.tables import (
    CompressedRow,
    EnvironmentRow,
    EvaluationRow,
    Experiment,
    FisherErrorRow,
    InverseRankRow,
    IterationRow,
    RunRow,
)
from suite.store.values import fitting, null

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sqlalchemy import Connection

    from suite.cell import Cell
    from suite.environment import Environment
    from suite.records import Records
    from suite.store.tables import Table
    from suite.store.values import Values

_T = TypeVar("_T")

MEASURED = ("done", "diverged")
"""The statuses of runs that are results; all others are attempts."""

FAILED = ("error", "oom", "timeout")
"""The statuses of runs that ended without a result, by no command's doing."""

PATIENCE = 60.0
"""Seconds that a write waits for a locked database, or for a server that is starting again."""

_UNSEEN = {"synchronize_session": False}  # objects that were read before keep what they hold

_COLUMNS = {
    IterationRow: [column.name for column in IterationRow.__table__.columns],
    EvaluationRow: [column.name for column in EvaluationRow.__table__.columns],
    FisherErrorRow: [column.name for column in FisherErrorRow.__table__.columns],
    InverseRankRow: [column.name for column in InverseRankRow.__table__.columns],
    CompressedRow: [column.name for column in CompressedRow.__table__.columns],
}


class Store:
    """Runs and their records, through one connection.

    Records are buffered by `append` and written by `flush`; everything else is written at once.
    """

    def __init__(self, connection: Connection) -> None:
        self.session = Session(connection, expire_on_commit=False)
        self._buffers: dict[type, list[dict[str, Any]]] = {table: [] for table in _COLUMNS}
        self._running: dict[int, float] = {}  # run → when it began, by the monotonic clock
        self._owner = Owner(platform.node() or "unknown", os.getpid())
        self._of_others = sa.or_(RunRow.owner_host != self._owner.host, RunRow.owner_pid != self._owner.pid)
        self._pulses = Pulses()
        self._dialect = connection.dialect.name
        self.hurried = False
        """Whether a write that cannot be made at once is given up; else it is tried again until `PATIENCE` ends."""

    def experiment(self, name: str, text: str) -> int:
        """The number of a specification; a new one for a new text."""
        digest = hashlib.sha256(text.encode()).hexdigest()
        values = {"name": name, "text_hash": digest, "text": text, "first_run_at": self._clock()}
        return self._once(Experiment, Experiment.text_hash == digest, values)

    def environment(self, environment: Environment) -> int:
        """The number of an environment; a new one where anything about it is new."""
        content = asdict(environment)
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        return self._once(EnvironmentRow, EnvironmentRow.content_hash == digest, {"content_hash": digest, **content})

    def newest(self) -> int:
        """The number of the latest run; 0 where there is none."""
        newest = self.session.scalar(sa.select(sa.func.max(RunRow.id)))
        self.session.rollback()
        return newest or 0

    def claim(
        self,
        cell: Cell,
        *,
        experiment: int,
        environment: int,
        fingerprint: str,
        device: str,
        contended: bool,
        since: int,
    ) -> Claim:
        """Take a cell, unless another command runs it, it has a result, or another command failed at it meanwhile.

        Args:
            cell: what is to be run.
            experiment: from `experiment`.
            environment: from `environment`.
            fingerprint: of the sources of `kfsvd`; other sources are another cell.
            device: the slot's name.
            contended: whether other cells run beside it on this machine.
            since: from `newest`, when the command began: failures before it are tried again.

        Returns:
            The run that the cell is ours under; or none, with the status of the run that it is not ours for.

        """
        values = {
            "experiment_id": experiment,
            "environment_id": environment,
            "cell_key": cell.key,
            "group_key": cell.group_key,
            "fingerprint": fingerprint,
            "optimizer": cell.optimizer,
            "compression": cell.compressed_by or None,
            "dataset": cell.dataset,
            "seed": cell.seed,
            "definition": cell.definition,
            "status": "running",
            "device": device,
            "contended": contended,
            "started_at": self._clock(),
            "heartbeat_at": self._clock(),
            "owner_host": self._owner.host,
            "owner_pid": self._owner.pid,
        }

        def taken() -> Claim:
            if (standing := self._standing(cell.key, fingerprint, since)) is not None:
                self.session.rollback()
                return Claim(None, standing)
            try:
                run = self._insert(RunRow, values)
            except IntegrityError as error:
                self.session.rollback()
                if "cell_key" not in str(error.orig):
                    raise
                # By the index over running runs: another was quicker.
                return Claim(None, "running")
            # It may have been taken and ended between our look and our lease; now it cannot.
            if (standing := self._standing(cell.key, fingerprint, since, besides=run)) is not None:
                self.session.rollback()
                return Claim(None, standing)
            self.session.commit()
            return Claim(run, "running")

        with unhurried(self.session):
            claim = self._patiently(taken)
        if claim.run is not None:
            self._running[claim.run] = time.monotonic()
        return claim

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
        values = {"problem": problem, "pixels": pixels, "floor": floor, "test_floor": test_floor}
        values |= {"parameters": parameters, "reference_seconds": reference_seconds}
        with unhurried(self.session):
            self._update(run, **values)

    def append(self, run: int, records: Records) -> None:
        """Buffer records of a run for the next `flush`."""
        for table, rows in (
            (IterationRow, records.iterations),
            (EvaluationRow, records.evaluations),
            (FisherErrorRow, records.fisher_errors),
            (InverseRankRow, records.inverse_ranks),
            (CompressedRow, records.compressed),
        ):
            columns = _COLUMNS[table]
            self._buffers[table].extend(dict(zip(columns, (run, *map(null, row)), strict=True)) for row in rows)

    def flush(self) -> list[int]:
        """Write and commit what is buffered, and stamp the heartbeat of every run at work.

        What cannot be written, because the database is locked or full, stays buffered for the next flush.

        Returns:
            The runs that are no longer ours: silent for so long that another command took their cells.

        """
        return self._written(self._stamp)

    def finish(self, run: int, status: str, error: str | None = None, peak_memory: int | None = None) -> bool:
        """End a run, with everything that was appended to it, in one transaction.

        Returns:
            Whether it was still ours to end; else it stays as the command that took its cell recorded it.

        """
        seconds = time.monotonic() - self._running[run]
        values = {"status": status, "error": error, "peak_memory_bytes": peak_memory, "wall_seconds": seconds}
        at_work = (RunRow.id == run, RunRow.status == "running")

        def end() -> bool:
            self._stamp()
            return self._change(*at_work, ended_at=self._clock(), **values) == 1

        ours = self._written(end)
        del self._running[run]
        return ours

    def release(self, run: int) -> None:
        """Give back a cell that was only held for a job (`RESERVED`): nothing is left of the run."""
        self._running.pop(run, None)
        mine = (RunRow.id == run, RunRow.status == "running", RunRow.device == RESERVED, sa.not_(self._of_others))
        self.transaction(lambda: self.session.execute(sa.delete(RunRow).where(*mine), execution_options=_UNSEEN))

    def sweep(self) -> int:
        """Mark the runs that a dead process left behind as interrupted at their last sign of life.

        Returns:
            How many there were; cells that were only held for a job are free again, and not counted.

        """

        def mark() -> int:
            now = sa.type_coerce(self._clock(), RunRow.heartbeat_at.type)
            columns = (RunRow.id, RunRow.owner_host, RunRow.owner_pid, RunRow.device, RunRow.heartbeat_at, now)
            rows = self.session.execute(sa.select(*columns).where(RunRow.status == "running")).all()
            freed = 0
            for run, host, pid, device, at, read in rows:
                silence = self._pulses.silence(run, Heartbeat(at, read))
                if run not in self._running and is_dead(Owner(host, pid), self._owner, silence):
                    silent = (RunRow.id == run, RunRow.status == "running", RunRow.heartbeat_at == at)
                    if device == RESERVED:
                        self.session.execute(sa.delete(RunRow).where(*silent), execution_options=_UNSEEN)
                    else:
                        freed += self._change(*silent, status="interrupted", ended_at=RunRow.heartbeat_at)
            self.session.commit()
            return freed

        return self._patiently(mark)

    def measured(self, keys: Sequence[str], fingerprint: str | None) -> dict[str, RunRow]:
        """The latest run with a result of each cell that has one.

        Args:
            keys: of cells.
            fingerprint: of the sources of `kfsvd` that a result must stem from; None for any.

        """
        return self._latest(keys, RunRow.status.in_(MEASURED), fingerprint)

    def with_result(self, keys: Sequence[str], fingerprint: str | None) -> set[str]:
        """Those of some cells' keys that `measured` has a run for, without the runs, which may be many."""
        found: set[str] = set()
        for some in _batched(keys, 500):
            query = sa.select(RunRow.cell_key).where(RunRow.cell_key.in_(some), RunRow.status.in_(MEASURED))
            if fingerprint is not None:
                query = query.where(RunRow.fingerprint == fingerprint)
            found.update(self.session.scalars(query))
        self.session.rollback()
        return found

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

    def transaction(self, work: Callable[[], _T]) -> _T:
        """Do some work on the session and commit it, as patiently as all else is written."""

        def committed() -> _T:
            result = work()
            self.session.commit()
            return result

        return self._patiently(committed)

    def _latest(
        self, keys: Sequence[str], condition: sa.ColumnElement[bool], fingerprint: str | None
    ) -> dict[str, RunRow]:
        found: dict[str, RunRow] = {}
        for some in _batched(keys, 500):
            query = sa.select(RunRow).where(RunRow.cell_key.in_(some), condition)
            query = query.order_by(RunRow.started_at, RunRow.id)  # merged runs have numbers in the order of merging
            if fingerprint is not None:
                query = query.where(RunRow.fingerprint == fingerprint)
            found.update((row.cell_key, row) for row in self.session.scalars(query))
        self.session.expunge_all()  # else the rollback expires them, and each is read again by itself
        self.session.rollback()  # a reader holds no snapshot longer than it reads
        return found

    def _standing(self, key: str, fingerprint: str, since: int, besides: int = 0) -> str | None:
        """Why a cell is not to be run: the status of a result, of a run at work, or of another command's failure."""
        failed = sa.and_(RunRow.status.in_(FAILED), RunRow.id > since, self._of_others)
        query = sa.select(RunRow.status).where(
            RunRow.cell_key == key,
            RunRow.fingerprint == fingerprint,
            RunRow.id != besides,
            sa.or_(RunRow.status.in_((*MEASURED, "running")), failed),
        )
        return min(self.session.scalars(query), key=(*MEASURED, "running", *FAILED).index, default=None)

    def _stamp(self) -> list[int]:
        """Show that the runs at work are; those that are ours no longer."""
        if not self._running:
            return []
        mine = (RunRow.id.in_(list(self._running)), RunRow.status == "running", sa.not_(self._of_others))
        here = sa.and_(RunRow.owner_host == self._owner.host, RunRow.device != RESERVED)  # jobs are on other machines
        beside = sa.select(RunRow.id).where(RunRow.status == "running", here, self._of_others)
        crowded = {} if self.session.scalar(beside.limit(1)) is None else {"contended": True}
        if self._change(*mine, heartbeat_at=self._clock(), **crowded) == len(self._running):
            return []
        return sorted(set(self._running) - set(self.session.scalars(sa.select(RunRow.id).where(*mine))))

    def _written(self, more: Callable[[], _T]) -> _T:
        """Write what is buffered and what else there is to write, and commit both."""

        def write() -> _T:
            for table, rows in self._buffers.items():
                if rows:
                    self.session.execute(sa.insert(table.__table__), rows)  # type: ignore[attr-defined]
            return more()

        result = self.transaction(write)
        for rows in self._buffers.values():
            rows.clear()
        return result

    def _once(self, kind: type[Experiment | EnvironmentRow], same: sa.ColumnElement[bool], values: Values) -> int:
        """The number of a row that is there once, made if it is missing."""

        def number() -> int:
            found = self.session.scalar(sa.select(kind.id).where(same))
            if found is None:
                try:
                    found = self._insert(kind, values)
                except IntegrityError:  # another command was quicker
                    self.session.rollback()
                    found = self.session.scalars(sa.select(kind.id).where(same)).one()
            self.session.commit()
            return found

        return self._patiently(number)

    def _insert(self, kind: type[Table], values: Values) -> int:
        """Add a row, without a commit."""
        done = self.session.execute(sa.insert(kind).values(**fitting(kind, values)).returning(kind.id))  # type: ignore[attr-defined]
        return int(done.scalar_one())

    def _update(self, run: int, **values: Any) -> None:
        self.transaction(lambda: self._change(RunRow.id == run, **values))

    def _change(self, *which: sa.ColumnElement[bool], **values: Any) -> int:
        """Change runs, without a commit; how many there were."""
        change = sa.update(RunRow).where(*which).values(**fitting(RunRow, values))
        done = self.session.execute(change, execution_options=_UNSEEN)
        return int(done.rowcount)  # type: ignore[attr-defined]

    def _clock(self) -> Any:
        """The database's clock: the server's, or that of this host, where a SQLite file is."""
        if self._dialect == "sqlite":
            return dt.datetime.now(dt.UTC)
        return sa.func.clock_timestamp()

    def _patiently(self, transaction: Callable[[], _T]) -> _T:
        """Do it, and do it again while the database is locked or its server away, until `PATIENCE` is at its end."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return transaction()
            except DBAPIError as error:
                self.session.rollback()
                if self.hurried or not passes_by_itself(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)


def _batched(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
