"""`kfsvd-bench run`: measure what is not measured yet."""

from __future__ import annotations

import json as jsonlib
from typing import TYPE_CHECKING

from rich.console import Console

from suite.commands.matrix import load_matrix
from suite.errors import ExitCode
from suite.fingerprint import library_fingerprint
from suite.problems import Folders
from suite.progress import view_for
from suite.scheduling.slots import parse_devices

if TYPE_CHECKING:
    from pathlib import Path

    from suite.scheduling.local import Summary


def run(
    path: Path, db: str, selection: str | None, devices: str, data_folder: Path | None, *, any_sources: bool, json: bool
) -> ExitCode:
    """Measure the selected cells of a spec, and show the leaderboard.

    Raises:
        SuiteError: the spec, the selection, the devices or the store cannot be used.

    """
    matrix = load_matrix(path, selection, any_sources=any_sources)
    console = Console(stderr=json)
    if not matrix.cells:
        console.print("No cell is left by the spec's exclusions: nothing to measure.")
        return ExitCode.NOTHING_MEASURED
    slots = parse_devices(devices)
    folders = Folders.default(data_folder)

    from suite.environment import current_environment
    from suite.report import terminal_leaderboard
    from suite.scheduling.local import Provenance, run_cells
    from suite.store import open_store

    with open_store(db) as store:
        swept = store.sweep()
        if swept:
            console.print(f"{swept} cells of an earlier command that died are recorded as interrupted; they run again.")
        measured = store.measured([cell.key for cell in matrix.cells], matrix.fingerprint)
        missing = [cell for cell in matrix.cells if cell.key not in measured]
        if measured:
            sources = "any" if any_sources else "these"
            console.print(
                f"{len(measured)} of {len(matrix.cells)} cells are measured already, with {sources} sources of kfsvd."
            )
        summary: Summary | None = None
        if missing:
            provenance = Provenance(
                experiment=store.experiment(matrix.spec.name, matrix.spec.text),
                environment=store.environment(current_environment()),
                fingerprint=library_fingerprint(),
            )
            console.print(f"Measuring {len(missing)} cells on {', '.join(slot.name for slot in slots)} into {db}")
            with view_for(console, len(missing)) as view:
                summary = run_cells(missing, slots, store, provenance, view, folders)
        measured = store.measured([cell.key for cell in matrix.cells], matrix.fingerprint)
        statuses = dict(summary.statuses) if summary else {}
        if json:
            print(
                jsonlib.dumps({"cells": len(matrix.cells), "measured": len(measured), "ended_now": statuses}, indent=2)
            )
        elif measured:
            print(terminal_leaderboard(store, matrix.spec, matrix.cells, matrix.fingerprint))
    if summary and summary.interrupted:
        console.print("Interrupted. What is measured is kept; the same command goes on from here.")
        return ExitCode.INTERRUPTED
    if summary and summary.failed:
        console.print(f"{summary.failed} cells failed; `kfsvd-bench status {path} --db {db}` names them.")
        return ExitCode.CELLS_FAILED
    return ExitCode.FINE if measured else ExitCode.NOTHING_MEASURED
