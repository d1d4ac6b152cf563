"""`kfsvd-bench export`: everything that the store holds, as tidy tables."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from suite.errors import ExitCode, SuiteError
from suite.store import frames
from suite.store.tidy import write_csv, write_json

if TYPE_CHECKING:
    from pathlib import Path

_WRITERS = {"csv": write_csv, "json": write_json, "parquet": frames.write_parquet}


def export(path: Path | None, db: str, folder: Path, kind: str, *, attempts: bool) -> ExitCode:
    """Write a file for each table into `folder`, and say which; those of `suite.load`.

    Raises:
        SuiteError: the spec, the store or the folder cannot be used; or what Parquet needs is not installed.

    """
    from suite.results import keys_of
    from suite.store import open_store, shown
    from suite.store.listing import listing

    if kind == "parquet":
        frames.needed()
    with open_store(db, create=False) as store:
        keys = None if path is None else keys_of(path, store)
        tables = listing(store, keys, attempts=attempts)
    if not tables["runs"].rows:
        print(f"Nothing{'' if path is None else f' of {path}'} is measured in {shown(db)}.", file=sys.stderr)
        return ExitCode.NOTHING_MEASURED
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, table in tables.items():
            print(_WRITERS[kind](table, folder / f"{name}.{kind}"))
    except OSError as error:
        raise SuiteError(f"the tables cannot be written into {folder}: {error.strerror or error}") from None
    return ExitCode.FINE
