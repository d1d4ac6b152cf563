"""`kfsvd-bench logs`: what a cell has printed, and how it stands or ended."""

from __future__ import annotations

import json as jsonlib
import re
from typing import TYPE_CHECKING

from suite.errors import ExitCode, SuiteError, printable
from suite.plan.select import select
from suite.scheduling.executor import beside
from suite.scheduling.output import log_file
from suite.spec.labels import labelled

if TYPE_CHECKING:
    from pathlib import Path

    from suite.store import RunRow, Store

_SHOWN = 20
"""Cells that are listed where an answer fits several."""


def logs(cell: str, db: str, *, json: bool) -> ExitCode:
    """Print the output of the latest attempt at a cell, and its error.

    Args:
        cell: the beginning of its key, or a selection that fits it alone.
        db: the store's URL.
        json: all of it as one object.

    Raises:
        SuiteError: no cell in the store is meant, or several are; the store cannot be used.

    """
    from suite.store import open_store
    from suite.store.attempts import progress

    with open_store(db, create=False) as store:
        run = _meant(cell, store)
        at = progress(store, run.id)
    file = log_file(beside(db, "logs"), run.id)
    output = _read(file)
    if json:
        content = {"optimizer": run.optimizer, "dataset": run.dataset, "seed": run.seed, "key": run.cell_key}
        standing = {"run": run.id, "status": run.status, "iteration": at.iteration if at else 0}
        print(jsonlib.dumps({**content, **standing, "output": output, "error": run.error}, indent=2))
        return ExitCode.FINE
    print(printable(f"{_name(run)} (key {run.cell_key}), run {run.id}: {run.status} on {run.device}"), end="")
    print(f", {at.iteration} iterations, {at.seconds:.1f} s" if at else ", no iteration is stored")
    if output is None:
        print(f"\nNo output of it is here: it has printed nothing, or {run.owner_host}, where it was run, has it.")
    else:
        print(f"\n{printable(output).rstrip()}")
    if run.error:
        print(f"\nIts error:\n{printable(run.error).rstrip()}")
    return ExitCode.FINE


def _meant(cell: str, store: Store) -> RunRow:
    from suite.store.attempts import attempts

    if "=" in cell:
        found = select(attempts(store), cell)
    elif re.fullmatch(r"[0-9a-f]{1,16}", cell):
        found = attempts(store, cell)
    else:
        raise SuiteError(
            f"CELL {cell!r}: give a key, as `kfsvd-bench status` shows it, or a selection such as "
            "optimizer=kpsvd,dataset=digits,seed=0"
        )
    if not found:
        raise SuiteError(f"CELL {cell!r}: no attempt at such a cell is in the store")
    if len(found) > 1:
        listed = "".join(f"\n  {run.cell_key}  {_name(run)}" for run in found[:_SHOWN])
        more = f"\n  and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise SuiteError(printable(f"CELL {cell!r}: {len(found)} cells are meant; give one's key:{listed}{more}"))
    return found[0]


def _name(run: RunRow) -> str:
    return f"{labelled(run.optimizer, run.compressed_by)} × {run.dataset} × seed {run.seed}"


def _read(file: Path) -> str | None:
    try:
        return file.read_bytes().decode(errors="replace")
    except OSError:
        return None
