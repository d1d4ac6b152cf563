"""Everything that a store holds, as tidy tables: one row a run, and its records with the run's names before them."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from suite.store.store import MEASURED
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
from suite.store.tidy import Tidy

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from suite.store.store import Store
    from suite.store.tables import Table

NAMES: dict[str, type] = {
    **{"experiment": str, "sources": str, "dataset": str, "optimizer": str},
    **{"compression": str, "seed": int, "run": int},
}
"""What every row begins with; a run's labels are those of the spec that measured it."""

_RECORDS: dict[str, type[Table]] = {
    "iterations": IterationRow,
    "evaluations": EvaluationRow,
    "fisher_errors": FisherErrorRow,
    "inverse_ranks": InverseRankRow,
    "compressions": CompressedRow,
}
_OWN = (
    *("status", "device", "contended", "problem", "pixels", "parameters", "floor", "test_floor"),
    *("reference_seconds", "wall_seconds", "peak_memory_bytes", "started_at", "ended_at", "error"),
)
_MACHINE = ("host", "cpu", "gpus", "torch", "kfsvd", "git_commit", "dirty")
_KINDS: dict[type, type] = {sa.Integer: int, sa.Double: float, sa.Boolean: bool, sa.DateTime: dt.datetime}


def listing(store: Store, keys: Collection[str] | None = None, *, attempts: bool = False) -> dict[str, Tidy]:
    """The tables `runs`, `iterations`, `evaluations`, `fisher_errors`, `inverse_ranks` and `compressions`.

    Args:
        store: read, not changed.
        keys: of the cells that are wanted; None for all that there are.
        attempts: all runs, whatever became of them; else the latest with a result of each cell and version of kfsvd's
            sources.

    """
    found = runs(store, keys, attempts=attempts)
    where = [list(found.columns).index(name) for name in NAMES]
    names = {row[where[-1]]: tuple(row[i] for i in where) for row in found.rows}
    store.session.rollback()  # a reader holds no snapshot longer than it reads
    return {"runs": found} | {name: _records(store, table, names) for name, table in _RECORDS.items()}


def runs(store: Store, keys: Collection[str] | None = None, *, attempts: bool = False) -> Tidy:
    """One row a run, by its number, with what it was and how it ended; as in `listing`.

    `setting` tells the same optimizer, problem and budget from seed to seed; losses are those of the last evaluation.
    """
    own, machine = RunRow.__table__, EnvironmentRow.__table__
    fixed = {
        **{"experiment": Experiment.name, "sources": RunRow.fingerprint, "dataset": RunRow.dataset},
        **{"optimizer": RunRow.optimizer, "compression": RunRow.compression, "seed": RunRow.seed, "run": RunRow.id},
        **{"cell": RunRow.cell_key, "setting": RunRow.group_key},
        **{name: own.c[name] for name in _OWN},
        **{"iterations": IterationRow.iteration, "training_seconds": IterationRow.seconds},
        **{"cpu_seconds": IterationRow.cpu_seconds},
        **{"train_loss": EvaluationRow.train_loss, "test_loss": EvaluationRow.test_loss},
        **{name: machine.c[name] for name in _MACHINE},
    }
    query = sa.select(RunRow.definition, *fixed.values()).join(Experiment).join(EnvironmentRow).order_by(RunRow.id)
    for record in (IterationRow, EvaluationRow):
        last = (
            sa.select(sa.func.max(record.iteration))
            .where(record.run_id == RunRow.id)
            .correlate(RunRow)
            .scalar_subquery()
        )
        query = query.outerjoin(record, sa.and_(record.run_id == RunRow.id, record.iteration == last))
    if not attempts:
        latest = sa.select(sa.func.max(RunRow.id)).where(RunRow.status.in_(MEASURED))
        query = query.where(RunRow.id.in_(latest.group_by(RunRow.cell_key, RunRow.fingerprint)))
    where = 1 + list(fixed).index("cell")
    rows = [row for row in store.session.execute(query) if keys is None or row[where] in keys]
    definitions = [row[0] for row in rows]
    asked, described = _options([definition["method"] for definition in definitions]), []
    for definition, row in zip(definitions, rows, strict=True):
        method, problem = definition["method"], definition["problem"]
        batch = method.get("batch_size") or problem["batch_size"]
        options = [kind(method[name]) if method.get(name) is not None else None for name, kind in asked.items()]
        described.append((*map(_aware, row[1:]), method["method"], problem["likelihood"], batch, *options))
    columns = {name: _kind(column) for name, column in fixed.items()}
    columns |= {"method": str, "likelihood": str, "batch_size": int}
    return Tidy(columns | {f"options.{name}": kind for name, kind in asked.items()}, described)


def _records(store: Store, table: type[Table], names: Mapping[int, tuple[Any, ...]]) -> Tidy:
    """The records of some runs in one table; each batch of them through its index."""
    run, *columns = table.__table__.columns
    order = [column for column in columns if column.primary_key]
    numbers, rows = list(names), []
    for start in range(0, len(numbers), 500):
        query = sa.select(run, *columns).where(run.in_(numbers[start : start + 500])).order_by(run, *order)
        rows += [(*names[number], *values) for number, *values in store.session.execute(query)]
    store.session.rollback()
    return Tidy(NAMES | {column.name: _kind(column) for column in columns}, rows)


def _options(methods: Iterable[Mapping[str, Any]]) -> dict[str, type]:
    """The options of any of the methods, but those with columns of their own, and what their values are."""
    values: dict[str, list[Any]] = {}
    for method in methods:
        for name, value in method.items():
            if name not in ("method", "batch_size"):
                values.setdefault(name, []).append(value)
    return {name: _common([value for value in given if value is not None]) for name, given in values.items()}


def _common(values: Iterable[Any]) -> type:
    """The kind that holds all of some plain values; text where nothing else does, such as schedules beside numbers."""
    kinds = {type(value) for value in values}
    if len(kinds) == 1:
        return kinds.pop()
    return float if kinds == {int, float} else str


def _kind(column: Any) -> type:
    return next((kind for known, kind in _KINDS.items() if isinstance(column.type, known)), str)


def _aware(value: Any) -> Any:
    """Times are stored in UTC; SQLite gives them back without saying so."""
    return value.replace(tzinfo=dt.UTC) if isinstance(value, dt.datetime) and value.tzinfo is None else value
