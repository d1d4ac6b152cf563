"""`kfsvd-bench optimizers`: the methods that a spec can name, and the card of one."""

from __future__ import annotations

import json as jsonlib
from typing import TYPE_CHECKING, Any

from tabulate import tabulate

from suite.commands import DEFAULT_DATABASE
from suite.errors import ExitCode, SuiteError, did_you_mean
from suite.methods import METHODS
from suite.methods.card import description, options, summary
from suite.plugins import OPTIMIZERS, installed
from suite.spec.grids import spelled

if TYPE_CHECKING:
    from suite.report.sections.record import Record


def optimizers(name: str | None, db: str | None, *, json: bool) -> ExitCode:
    """List all methods, or show what one is, its options, and how it did in the runs of a store.

    Args:
        name: of a method; None for all.
        db: the store; None for the usual one, if it is there.
        json: print JSON.

    Raises:
        SuiteError: no method has that name, or the store cannot be read.

    """
    known = list(dict.fromkeys([*METHODS, *installed(OPTIMIZERS)]))
    if name is not None and name not in known:
        raise SuiteError(f"unknown method {name!r}{did_you_mean(name, known)}")
    if name is not None:
        _card(name, db, json=json)
    elif json:
        print(jsonlib.dumps({method: [each._asdict() for each in options(method)] for method in known}, indent=2))
    else:
        print(tabulate([(method, summary(method)) for method in known], headers=("method", "what it is")))
        print("\nkfsvd-bench optimizers METHOD shows the card of one.")
    return ExitCode.FINE


def _card(name: str, db: str | None, *, json: bool) -> None:
    found = _records(name, db)
    if json:
        card = {
            "method": name,
            "description": description(name),
            "options": [each._asdict() for each in options(name)],
            "runs": None if found is None else [record._asdict() for record in found],
        }
        print(jsonlib.dumps(card, indent=2))
        return
    print(f"{name}: {description(name)}\n")
    rows = [[each.option, _default(each.default), each.range, each.meaning] for each in options(name)]
    headers = ("option", "default", "range", "meaning")
    print(tabulate(rows, headers=headers, maxcolwidths=[None, None, 30, 60], disable_numparse=True))
    if found is None:
        print("\nHow it did in stored runs: --db URL.")
    elif not found:
        print(f"\nNo run of {name} is stored in {db or DEFAULT_DATABASE}.")
    else:
        print(f"\nIn the runs of {db or DEFAULT_DATABASE}, whatever their settings, final training loss in nats:")
        print(tabulate(list(map(_row, found)), headers="keys", maxcolwidths=[None] * 6 + [50], disable_numparse=True))


def _records(name: str, db: str | None) -> list[Record] | None:
    """None where no store is asked for and none is there."""
    from suite.store import open_store, store_exists

    if db is None and not store_exists(DEFAULT_DATABASE):
        return None
    from suite.report.sections.record import records

    with open_store(db or DEFAULT_DATABASE, create=False) as store:
        return records(store, name)


def _row(record: Record) -> dict[str, Any]:
    from suite.report.formats.numbers import number

    data = record.dataset if record.problem in (None, record.dataset) else f"{record.dataset} ({record.problem})"
    setting = ", ".join(f"{name}={spelled(value)}" for name, value in record.setting.items())
    return {
        "experiment": record.experiment,
        "data set": data,
        "runs": record.runs,
        "diverged": f"{record.diverged:.0%}",
        "best": number(record.best, 4),
        "median": number(record.median, 4),
        "setting of the best": "—" if record.best is None else setting or "all defaults",
    }


def _default(value: Any) -> str:
    return "—" if value is None else spelled(value)
