"""Folding one store into another; doing it again changes nothing.

A run is the same run wherever it is found: of the same cell, with the same sources, begun by the same process at the
same moment. Experiments are the same by their text and environments by all that they say, whatever their numbers are.
A store only ever adds to a run, so the further of two copies holds all of the other: what is missing is its tail.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import shutil
import sqlite3
import tempfile
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from suite.environment import Environment
from suite.errors import StoreError
from suite.store.faults import translated
from suite.store.leases import RESERVED
from suite.store.opening import open_migrated, open_store
from suite.store.store import FAILED, MEASURED
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
from suite.store.urls import shown, sqlite_file
from suite.store.values import fitting

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from suite.store.store import Store
    from suite.store.values import Values

_RECORDS = (IterationRow, EvaluationRow, FisherErrorRow, InverseRankRow, CompressedRow)
_ROWS_AT_A_TIME = 10_000
_RUNS_AT_A_TIME = 500


class Folded(NamedTuple):
    """What a store has brought."""

    added: int  # runs
    advanced: int  # runs that were known, and have gone on since
    known: int  # runs that were there as they are, or further
    records: int

    def __add__(self, other: object) -> Folded:
        """What two stores have brought."""
        return Folded(*map(sum, zip(self, other, strict=True))) if isinstance(other, Folded) else NotImplemented


NOTHING = Folded(0, 0, 0, 0)


class _Identity(NamedTuple):
    cell_key: str
    fingerprint: str
    started_at: dt.datetime
    owner_host: str
    owner_pid: int


@contextmanager
def open_source(url: str) -> Iterator[Store]:
    """A store to read, which stays as it is: of a SQLite file a copy is made, and brought up to date where it is old.

    Raises:
        StoreError: there is no store, it cannot be read or copied, or it is of a newer version of this program.

    """
    file = sqlite_file(url)
    if file is None:
        with open_store(url, create=False) as store:
            yield store
        return
    if not file.is_file():
        raise StoreError(f"there is no store at {file}")
    with tempfile.TemporaryDirectory(prefix="kfsvd-bench-") as folder:
        copy = Path(folder) / file.name
        try:
            _copy(file, copy)
        except OSError as error:
            raise StoreError(f"{file} cannot be copied to be read: {error}") from None
        with open_migrated(f"sqlite:///{copy}", shown(url)) as store:
            yield store


def fold(source: Store, target: Store, *, source_url: str, target_url: str) -> Folded:
    """Add to `target` what `source` holds and it does not. A run that is still at work is added as interrupted so far.

    Each run is added in one transaction, so that a merge that is cut short goes on when it is called again.

    Raises:
        StoreError: either cannot be read or written; the message names which.

    """
    folded = NOTHING
    held = sa.and_(RunRow.status == "running", RunRow.device == RESERVED)  # for a job, whose run comes from its shard
    runs = sa.select(RunRow.__table__).where(sa.not_(held)).order_by(RunRow.id)
    try:
        with translated(target_url):  # errors of the source are named by `_parts`
            experiments = _experiments(source, target, source_url)
            environments = _environments(source, target, source_url)
            for some in _parts(source, runs, source_url, _RUNS_AT_A_TIME):
                known = _known(target, some)
                for row in some:
                    values = _values(row, experiments, environments)
                    folded += _fold_run(source, target, row.id, values, known.get(_identity(row)), source_url)
    except (ValueError, TypeError, LookupError) as error:
        raise StoreError(f"store {shown(source_url)}: holds what no run has written ({error})") from error
    return folded


def _fold_run(source: Store, target: Store, number: int, values: Values, known: Any, source_url: str) -> Folded:
    if known is not None and _progress(values) <= _progress(known._mapping):
        return Folded(0, 0, 1, 0)

    def write() -> Folded:
        # First of all the experiment's row is locked: of two merges at once, the second sees what the first has added.
        experiment = Experiment.id == values["experiment_id"]
        target.session.execute(sa.update(Experiment).where(experiment).values(name=Experiment.name))
        present = next((row for row in _alike(target, [values["cell_key"]]) if _identity(row) == identity), None)
        if present is None:
            table: Any = RunRow.__table__
            run = target.session.execute(sa.insert(table).values(**values).returning(table.c.id)).scalar_one()
        elif _progress(values) <= _progress(present._mapping):
            return Folded(0, 0, 1, 0)
        else:
            run = present.id
            change = sa.update(RunRow).where(RunRow.id == run).values(**values)
            target.session.execute(change, execution_options={"synchronize_session": False})
        records = sum(_fold_records(source, target, kind, number, run, source_url) for kind in _RECORDS)
        return Folded(int(present is None), int(present is not None), 0, records)

    identity = _identity_of(values)
    return target.transaction(write)


def _fold_records(source: Store, target: Store, kind: Any, number: int, run: int, source_url: str) -> int:
    """Add the records of a run that come after those it has; of a compression, the ratios that it has not."""
    table = kind.__table__
    names = [column.name for column in table.columns if column.name != "run_id"]
    query = sa.select(*(table.c[name] for name in names)).where(table.c.run_id == number).order_by(table.c.iteration)
    if kind is CompressedRow:
        pairs = sa.select(table.c.ratio, table.c.iteration).where(table.c.run_id == run)
        known = target.session.execute(pairs).all()
        query = query.where(sa.tuple_(table.c.ratio, table.c.iteration).not_in([tuple(pair) for pair in known]))
    else:
        last = target.session.scalar(sa.select(sa.func.max(table.c.iteration)).where(table.c.run_id == run))
        query = query.where(table.c.iteration > last) if last is not None else query
    count = 0
    for rows in _parts(source, query, source_url, _ROWS_AT_A_TIME):
        target.session.execute(
            sa.insert(table), [{"run_id": run, **dict(zip(names, row, strict=True))} for row in rows]
        )
        count += len(rows)
    return count


def _experiments(source: Store, target: Store, source_url: str) -> dict[int, int]:
    """Numbers of experiments in the target by those in the source."""
    numbers = {}
    for row in _rows(source, sa.select(Experiment.__table__), source_url):
        numbers[row.id] = number = target.experiment(row.name, row.text)
        _begun_by(target, number, _utc(row.first_run_at))
    return numbers


def _begun_by(target: Store, experiment: int, time: dt.datetime) -> None:
    """Say that an experiment was first run at a time, unless it was earlier."""
    later = (Experiment.id == experiment, Experiment.first_run_at > time)
    target.transaction(lambda: target.session.execute(sa.update(Experiment).where(*later).values(first_run_at=time)))


def _environments(source: Store, target: Store, source_url: str) -> dict[int, int]:
    """Numbers of environments in the target by those in the source."""
    return {
        row.id: target.environment(Environment(*(getattr(row, field.name) for field in fields(Environment))))
        for (row,) in _rows(source, sa.select(EnvironmentRow), source_url)
    }


def _known(target: Store, rows: Sequence[Any]) -> dict[_Identity, Any]:
    return {_identity(row): row for row in _alike(target, sorted({row.cell_key for row in rows}))}


def _alike(target: Store, keys: Sequence[str]) -> Iterable[Any]:
    table: Any = RunRow.__table__
    return target.session.execute(sa.select(table).where(table.c.cell_key.in_(keys)))


def _values(row: Any, experiments: dict[int, int], environments: dict[int, int]) -> Values:
    """A run as the target is to hold it."""
    values = {name: _utc(value) if isinstance(value, dt.datetime) else value for name, value in row._mapping.items()}
    del values["id"]
    values["experiment_id"] = experiments[row.experiment_id]
    values["environment_id"] = environments[row.environment_id]
    if values["status"] == "running":  # as of the moment; it holds no lease on its cell here
        values |= {"status": "interrupted", "ended_at": values["heartbeat_at"]}
    return fitting(RunRow, values)


def _progress(run: Any) -> tuple[int, dt.datetime]:
    """How far a copy of a run has come: an end with a result before any other, then the latest sign of life."""
    status = run["status"]
    return 2 * (status in MEASURED) + (status in FAILED), _utc(run["heartbeat_at"])


def _identity(row: Any) -> _Identity:
    return _identity_of(row._mapping)


def _identity_of(run: Any) -> _Identity:
    values = {name: run[name] for name in _Identity._fields}
    return _Identity(**values | {"started_at": _utc(values["started_at"])})


def _utc(time: dt.datetime) -> dt.datetime:
    """SQLite keeps no zones: all times are UTC."""
    return time.replace(tzinfo=dt.UTC) if time.tzinfo is None else time.astimezone(dt.UTC)


def _rows(source: Store, query: sa.Select[Any], url: str) -> Iterator[Any]:
    for rows in _parts(source, query, url, _ROWS_AT_A_TIME):
        yield from rows


def _parts(source: Store, query: sa.Select[Any], url: str, size: int) -> Iterator[Sequence[Any]]:
    """The rows of a query, some at a time; errors of reading are those of the source."""
    with translated(url):
        found = source.session.execute(query, execution_options={"yield_per": size})
    parts = found.partitions()
    while True:
        with translated(url):
            rows = next(parts, None)
        if rows is None:
            return
        yield rows


def _copy(file: Path, copy: Path) -> None:
    """What is committed to a SQLite file, its write-ahead log included."""
    log = file.with_name(f"{file.name}-wal")
    if log.exists():  # somebody has it open, or had and died
        try:
            with contextlib.closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as old:
                with contextlib.closing(sqlite3.connect(copy)) as new:
                    old.backup(new)
                return
        except sqlite3.Error:  # in a read-only folder, where nobody writes; or no database, as opening it will say
            copy.unlink(missing_ok=True)
            shutil.copyfile(log, copy.with_name(f"{copy.name}-wal"))
    shutil.copyfile(file, copy)
