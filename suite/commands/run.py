"""`kfsvd-bench run`: measure what is not measured yet."""

from __future__ import annotations

import json as jsonlib
import math
from functools import partial
from typing import TYPE_CHECKING

from rich.console import Console

from suite.commands.plan import expected_seconds
from suite.environment import current_environment, library_fingerprint
from suite.errors import ExitCode
from suite.plan.plan import load_matrix
from suite.problems import Folders
from suite.scheduling.progress import view_for
from suite.scheduling.server import answer
from suite.scheduling.slots import accelerators, parse_devices, shared

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from suite.cell import Cell
    from suite.plan.plan import Matrix
    from suite.plan.stage import Stage
    from suite.scheduling.executor import Choice
    from suite.scheduling.site import Summary
    from suite.scheduling.slots import Slot
    from suite.store import Store


def run(
    path: Path,
    db: str,
    selection: str | None,
    devices: str,
    choice: Choice,
    data_folder: Path | None,
    *,
    any_sources: bool,
    allow_import: bool,
    json: bool,
) -> ExitCode:
    """Measure the selected cells of a spec, and show the leaderboard.

    Raises:
        SuiteError: the spec, the selection, the devices or the store cannot be used.

    """
    matrix = load_matrix(path, selection, any_sources=any_sources, allow_import=allow_import)
    console = Console(stderr=json)
    if not matrix.cells:
        console.print("No cell is left by the spec's exclusions: nothing to measure.")
        return ExitCode.NOTHING_MEASURED
    local = choice.name == "local"
    found_here = partial(answer, accelerators)
    slots = shared(parse_devices(devices, found_here), matrix.spec.scheduling.slots_per_device) if local else []
    folders = Folders.default(data_folder)

    from suite.report import terminal_leaderboard
    from suite.store import open_store, shown

    with open_store(db) as store:
        swept = store.sweep()
        if swept:
            console.print(f"{swept} cells of an earlier command that died are recorded as interrupted; they run again.")
        stage = matrix.stage(store)
        before = _measured(store, stage, matrix)
        if before:
            sources = "any" if any_sources else "these"
            console.print(
                f"{len(before)} of {len(stage.cells)} cells are measured already, with {sources} sources of kfsvd."
            )
        summary = _measure(matrix, store, slots, choice, folders, console, db)
        if summary.elsewhere:
            console.print(f"{summary.elsewhere.total()} cells were run by other commands meanwhile.")
        stage = matrix.stage(store)
        measured = _measured(store, stage, matrix)
        if json:
            counts = {"cells": len(stage.cells), "measured": len(measured), "waiting": len(stage.waiting)}
            print(jsonlib.dumps({**counts, "ended_now": summary.statuses}, indent=2))
        elif any(cell.key in measured for cell in stage.measured):
            print(terminal_leaderboard(store, matrix.spec, stage, matrix.fingerprint))
    if summary.interrupted:
        console.print("Interrupted. What is measured is kept; the same command goes on from here.")
        return ExitCode.INTERRUPTED
    if summary.failed:
        console.print(f"{summary.failed} cells failed; `kfsvd-bench status {path} --db {shown(db)}` names them.")
        return ExitCode.CELLS_FAILED
    left = {cell.key for cell in stage.known} - measured
    if left or stage.waiting:
        if left:
            console.print(f"{len(left)} cells have no result: the same command measures them.")
        for line in _why_waiting(stage):
            console.print(line)
        return ExitCode.CELLS_FAILED if left or measured else ExitCode.NOTHING_MEASURED
    return ExitCode.FINE if measured else ExitCode.NOTHING_MEASURED


def _measure(
    matrix: Matrix, store: Store, slots: Sequence[Slot], choice: Choice, folders: Folders, console: Console, db: str
) -> Summary:
    """Run what is missing, each cell once; then what follows from it, as long as anything does."""
    from suite.scheduling.executor import beside
    from suite.scheduling.site import Provenance, Site, Summary
    from suite.store import shown

    total = Summary()
    run_cells = choice.executor(db, matrix.spec.scheduling)
    where = ", ".join(slot.name for slot in slots) or choice.name
    tried: set[str] = set()
    site = None
    while not total.interrupted:
        stage = matrix.stage(store)
        done = {*tried, *_measured(store, stage, matrix)}
        missing = _unlike([cell for cell in stage.trials if cell.key not in done]) or _unlike(
            [cell for cell in stage.measured if cell.key not in done]
        )
        if not missing:
            break
        missing = _longest_first(missing, store)
        if site is None:
            provenance = Provenance(
                experiment=store.experiment(matrix.spec.name, matrix.spec.text),
                environment=store.environment(answer(current_environment)),
                fingerprint=library_fingerprint(),
                since=store.newest(),
            )
            site = Site(slots, store, provenance, folders, matrix.spec.scheduling, beside(db, "logs"))
        what = f"Tuning: {len(missing)} trials" if missing[0] in stage.trials else f"Measuring {len(missing)} cells"
        console.print(f"{what} on {where} into {shown(db)}")
        with view_for(console, len(missing)) as view:
            total.add(run_cells(missing, site, view))
        tried.update(cell.key for cell in missing)
    return total


def _measured(store: Store, stage: Stage, matrix: Matrix) -> set[str]:
    """The keys of the cells that have a result."""
    return store.with_result([cell.key for cell in stage.known], matrix.fingerprint)


def _longest_first(cells: Sequence[Cell], store: Store) -> list[Cell]:
    """By the time that cells like them took, those without one first: so that no slot is left with a long one."""
    known = store.durations()
    return sorted(cells, key=lambda cell: -(expected_seconds(cell, known) or math.inf))


def _unlike(cells: Sequence[Cell]) -> list[Cell]:
    """Cells of different content: two optimizers may come to the same setting."""
    return list({cell.key: cell for cell in cells}.values())


def _why_waiting(stage: Stage) -> list[str]:
    """Why there is no setting for some final cells."""
    waiting = {(cell.optimizer, cell.dataset) for cell in stage.waiting}
    lines = []
    for study in stage.studies:
        if (study.optimizer, study.dataset) in waiting:
            why = "every trial diverged" if study.complete else "not all of its trials are measured"
            lines.append(f"No setting for {study.optimizer} on {study.dataset}: {why}.")
    return lines
