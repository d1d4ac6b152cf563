"""`kfsvd-bench status`: coverage of a spec, what is at work, and why cells failed."""

from __future__ import annotations

import json as jsonlib
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tabulate import tabulate

from suite.errors import ExitCode, printable
from suite.plan.plan import load_matrix

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rich.console import Console

    from suite.cell import Cell
    from suite.plan.plan import Matrix
    from suite.store import RunRow, Store

WATCH_SECONDS = 1.0
"""How often a watched store is looked at: it changes with every flush of the command that runs."""

_LEFT = ("missing", "running", "interrupted", "other sources", "waiting for tuning")


@dataclass(frozen=True)
class Look:
    """A matrix at one moment."""

    cells: int
    states: Counter[str]
    running: list[dict[str, Any]] = field(default_factory=list)  # a row a cell at work
    failed: list[tuple[Cell, str]] = field(default_factory=list)  # with their errors

    @property
    def is_over(self) -> bool:
        """Whether nothing is left for the command that runs, or the next one, to begin with."""
        return not any(self.states[state] for state in _LEFT)

    @property
    def code(self) -> ExitCode:
        """Of the command that has seen this."""
        if not self.states["done"] and not self.states["diverged"]:
            return ExitCode.NOTHING_MEASURED
        return ExitCode.CELLS_FAILED if self.failed else ExitCode.FINE

    def json(self) -> dict[str, Any]:
        """For machines."""
        errors = {cell.name: error for cell, error in self.failed}
        states = dict(sorted(self.states.items()))
        return {"cells": self.cells, "states": states, "running": self.running, "errors": errors}

    def lines(self) -> Iterator[str]:
        """For people."""
        yield tabulate(sorted(self.states.items()), headers=("state", "cells"))
        if self.running:
            yield ""
            rows = [{name: _shown(value) for name, value in row.items()} for row in self.running]
            yield tabulate(rows, headers="keys", disable_numparse=True)
        for cell, error in self.failed:
            yield f"\n{printable(cell.name)} (key {cell.key}):\n{printable(error).rstrip()}"


def status(
    path: Path, db: str, selection: str | None, *, any_sources: bool, allow_import: bool, watch: bool, json: bool
) -> ExitCode:
    """Print how many cells are in which state, those at work, then every cell that failed, with its error.

    With `watch` it does so again and again, until no cell is left or Ctrl-C.

    Raises:
        SuiteError: the spec, the selection or the store cannot be used.

    """
    matrix = load_matrix(path, selection, any_sources=any_sources, allow_import=allow_import)
    if watch:
        return _watch(matrix, db, json=json)
    seen = _look(matrix, db)
    for line in [jsonlib.dumps(seen.json(), indent=2)] if json else seen.lines():
        print(line)
    return seen.code


def _watch(matrix: Matrix, db: str, *, json: bool) -> ExitCode:
    """A table that is redrawn in a terminal; elsewhere a block, or a line of JSON, whenever something has changed."""
    from rich.console import Console

    console = Console()
    shown = None
    try:
        while True:
            seen = _look(matrix, db)
            if seen != shown:
                _show(seen, console, json=json)
                shown = seen
            if seen.is_over:
                return seen.code
            time.sleep(WATCH_SECONDS)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED


def _show(seen: Look, console: Console, *, json: bool) -> None:
    if json:
        print(jsonlib.dumps(seen.json()), flush=True)
        return
    console.clear()  # says nothing where there is no terminal
    print("\n".join(seen.lines()), end="\n\n", flush=True)


def _look(matrix: Matrix, db: str) -> Look:
    from suite.store import open_store, store_exists

    if not store_exists(db):
        stage = matrix.stage(None)
        return Look(len(stage.cells), _counted({}, stage.known, len(stage.waiting)))
    with open_store(db, create=False) as store:
        stage = matrix.stage(store)
        keys = [cell.key for cell in stage.known]
        measured = store.measured(keys, matrix.fingerprint)
        states: dict[str, str] = {}
        errors: dict[str, str] = {}
        latest = store.latest(keys)
        for key, attempt in latest.items():
            states[key] = measured[key].status if key in measured else attempt.status
            if key not in measured and attempt.status in ("done", "diverged"):
                states[key] = "other sources"
            if attempt.error and key not in measured:
                errors[key] = attempt.error
        names = {cell.key: cell.name for cell in stage.known if states.get(cell.key) == "running"}
        running = _running(names, [latest[key] for key in names], store)
    failed = [(cell, errors[cell.key]) for cell in stage.known if cell.key in errors]
    return Look(len(stage.cells), _counted(states, stage.known, len(stage.waiting)), running, failed)


def _running(names: dict[str, str], runs: list[RunRow], store: Store) -> list[dict[str, Any]]:
    """A row for each run, under the name that its cell's key stands for."""
    from suite.store.attempts import at_work, progress

    rows = []
    for run in at_work(runs):
        at = progress(store, run.id)
        row = {
            "cell": names[run.cell_key],
            "key": run.cell_key,
            "on": run.device,
            "by": f"{run.owner_host}:{run.owner_pid}",
        }
        rows.append(
            {**row, **({"iteration": at.iteration, "loss": at.loss, "seconds": at.seconds} if at else _NOTHING)}
        )
    return rows


_NOTHING = {"iteration": 0, "loss": None, "seconds": 0.0}


def _counted(states: dict[str, str], known: list[Cell], waiting: int) -> Counter[str]:
    counts = Counter(states.get(cell.key, "missing") for cell in known)
    counts.update({"waiting for tuning": waiting} if waiting else {})
    return counts


def _shown(value: object) -> str:
    if value is None:
        return "…"
    return f"{value:.4g}" if isinstance(value, float) else printable(str(value))
