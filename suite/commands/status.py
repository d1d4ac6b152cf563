"""`kfsvd-bench status`: coverage of a spec, and why cells failed."""

from __future__ import annotations

import json as jsonlib
from collections import Counter
from typing import TYPE_CHECKING

from tabulate import tabulate

from suite.commands.matrix import load_matrix
from suite.errors import ExitCode

if TYPE_CHECKING:
    from pathlib import Path


def status(
    path: Path, db: str, selection: str | None, *, any_sources: bool, allow_import: bool, json: bool
) -> ExitCode:
    """Print how many cells are in which state, then every cell that failed, with its error.

    Raises:
        SuiteError: the spec, the selection or the store cannot be used.

    """
    from suite.store import open_store, store_exists

    matrix = load_matrix(path, selection, any_sources=any_sources, allow_import=allow_import)
    stage = matrix.stage(None)
    keys = [cell.key for cell in stage.known]
    states: dict[str, str] = {}
    errors: dict[str, str] = {}
    if store_exists(db):
        with open_store(db, create=False) as store:
            stage = matrix.stage(store)
            keys = [cell.key for cell in stage.known]
            measured = store.measured(keys, matrix.fingerprint)
            for key, attempt in store.latest(keys).items():
                states[key] = measured[key].status if key in measured else attempt.status
                if key not in measured and attempt.status in ("done", "diverged"):
                    states[key] = "other sources"
                if attempt.error and key not in measured:
                    errors[key] = attempt.error
    counts = Counter(states.get(key, "missing") for key in keys)
    counts.update({"waiting for tuning": len(stage.waiting)} if stage.waiting else {})
    failed = [cell for cell in stage.known if cell.key in errors]
    if json:
        failures = {cell.name: errors[cell.key] for cell in failed}
        print(
            jsonlib.dumps(
                {"cells": len(stage.cells), "states": dict(sorted(counts.items())), "errors": failures}, indent=2
            )
        )
    else:
        print(tabulate(sorted(counts.items()), headers=("state", "cells")))
        for cell in failed:
            print(f"\n{cell.name} (key {cell.key}):\n{errors[cell.key].rstrip()}")
    if not counts["done"] and not counts["diverged"]:
        return ExitCode.NOTHING_MEASURED
    return ExitCode.CELLS_FAILED if failed else ExitCode.FINE
