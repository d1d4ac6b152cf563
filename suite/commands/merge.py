"""`kfsvd-bench merge`: several stores become one."""

from __future__ import annotations

import json as jsonlib
from typing import TYPE_CHECKING

from suite.errors import ExitCode, SuiteError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from suite.store.merging import Folded


def merge(sources: Sequence[str], db: str, *, json: bool) -> ExitCode:
    """Fold stores into one, and say what each has brought.

    Args:
        sources: URLs of stores, or paths of SQLite files.
        db: the URL of the store that they are folded into; made if it is missing.
        json: machine-readable output.

    Raises:
        SuiteError: a store cannot be read or written, is of a newer version, or is the target itself. What was merged
            before stays.

    """
    from suite.store import open_store, shown
    from suite.store.merging import NOTHING, fold, open_source

    urls = [source if "://" in source else f"sqlite:///{source}" for source in sources]
    for url in urls:
        if _same(url, db):
            raise SuiteError(f"{shown(url)} is the store to merge into: leave it out")
    total = NOTHING
    brought = {}
    with open_store(db) as target:
        for url in urls:
            with open_source(url) as source:
                brought[shown(url)] = folded = fold(source, target, source_url=url, target_url=db)
            total += folded
            if not json:
                print(f"{shown(url)}: {_sentence(folded)}", flush=True)
    if json:
        stores = {name: folded._asdict() for name, folded in brought.items()}
        print(jsonlib.dumps({**total._asdict(), "stores": stores}, indent=2))
    elif len(urls) > 1:
        print(f"In all, {_sentence(total)} into {shown(db)}")
    return ExitCode.FINE if total.added + total.advanced + total.known else ExitCode.NOTHING_MEASURED


def _same(url: str, other: str) -> bool:
    from suite.store.urls import sqlite_file

    file, target = sqlite_file(url), sqlite_file(other)
    return url == other if file is None or target is None else file.resolve() == target.resolve()


def _sentence(folded: Folded) -> str:
    text = f"{folded.added} runs added"
    text += f", {folded.advanced} brought further" if folded.advanced else ""
    return f"{text}, {folded.known} known already, {folded.records} records"
