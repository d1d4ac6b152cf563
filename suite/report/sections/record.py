"""How a method did in all the runs of a store."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from suite.methods.card import options
from suite.spec.grids import spelled
from suite.store.listing import runs

if TYPE_CHECKING:
    from suite.store.store import Store


class Record(NamedTuple):
    """A method on a data set of an experiment, whatever its settings; losses are final training losses.

    `best` and `median` are over the runs that did not diverge, None where all did.
    """

    experiment: str
    dataset: str
    problem: str | None  # the data as they were: "curves-synthetic"
    runs: int
    diverged: float  # share of the runs
    best: float | None  # nats per example
    median: float | None
    setting: dict[str, Any]  # the best one's options that are not the defaults
    label: str | None  # under which it was run


def records(store: Store, method: str) -> list[Record]:
    """A record for each experiment and data set with a result of the method: the latest of each cell and sources."""
    table = runs(store)
    groups: dict[tuple[str, str, str | None], list[dict[str, Any]]] = {}
    for row in (dict(zip(table.columns, values, strict=True)) for values in table.rows):
        if row["method"] == method:
            groups.setdefault((row["experiment"], row["dataset"], row["problem"]), []).append(row)
    return [_record(method, *place, rows) for place, rows in sorted(groups.items(), key=str)]


def _record(method: str, experiment: str, dataset: str, problem: str | None, rows: list[dict[str, Any]]) -> Record:
    ended = [row for row in rows if row["status"] == "done" and row["train_loss"] is not None]
    best = min(ended, key=lambda row: row["train_loss"], default=None)
    return Record(
        experiment,
        dataset,
        problem,
        runs=len(rows),
        diverged=sum(row["status"] == "diverged" for row in rows) / len(rows),
        best=None if best is None else best["train_loss"],
        median=median(row["train_loss"] for row in ended) if ended else None,
        setting={} if best is None else _changed(method, best),
        label=None if best is None else best["optimizer"],
    )


def _changed(method: str, row: dict[str, Any]) -> dict[str, Any]:
    found = {option.option: (row.get(f"options.{option.option}"), option.default) for option in options(method)}
    return {
        name: value
        for name, (value, default) in found.items()
        if value is not None and spelled(value) != spelled(default)
    }
