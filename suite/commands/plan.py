"""`kfsvd-bench plan`: the matrix, what is measured already, and the expected time."""

from __future__ import annotations

import json as jsonlib
from collections import defaultdict
from typing import TYPE_CHECKING

from tabulate import tabulate

from suite.errors import ExitCode
from suite.plan.plan import load_matrix
from suite.spec.grids import base_label

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from suite.cell import Cell
    from suite.plan.plan import Matrix
    from suite.plan.stage import Stage


def plan(path: Path, db: str, selection: str | None, *, any_sources: bool, allow_import: bool, json: bool) -> ExitCode:
    """Print one row an optimizer and data set; measure nothing.

    Raises:
        SuiteError: the spec, the selection or the store cannot be used.

    """
    from suite.store import shown

    matrix = load_matrix(path, selection, any_sources=any_sources, allow_import=allow_import)
    stage, measured, seconds = _known(db, matrix)
    groups: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    for cell in stage.trials:
        groups[cell.dataset, f"{base_label(cell.optimizer)}, tuning"].append(cell)
    for cell in [*stage.measured, *stage.waiting]:
        groups[cell.dataset, cell.label].append(cell)
    rows = []
    for (dataset, optimizer), group in groups.items():
        missing = [cell for cell in group if cell.key not in measured]
        each = expected_seconds(group[0], seconds)
        rows.append(
            {
                "data set": dataset,
                "optimizer": optimizer,
                "cells": len(group),
                "measured": len(group) - len(missing),
                "seconds a cell": each,
                "seconds left": 0.0 if not missing else None if each is None else each * len(missing),
            }
        )
    left = [expected_seconds(cell, seconds) for cell in stage.cells if cell.key not in measured]
    known = sum(each for each in left if each is not None)
    unknown = sum(each is None for each in left)
    if json:
        totals = {
            "cells": len(stage.cells),
            "measured": len(measured),
            "seconds_left": known,
            "cells_unknown": unknown,
        }
        print(jsonlib.dumps({"name": matrix.spec.name, **totals, "groups": rows}, indent=2))
        return ExitCode.FINE
    print(f"{matrix.spec.name}: {matrix.spec.description.strip()}\n")
    print(tabulate(rows, headers="keys", floatfmt=",.0f", missingval="unknown"))
    print(f"\n{len(stage.cells)} cells, {len(measured)} measured in {shown(db)}.")
    if unknown:
        print(f"For {unknown} cells the time is unknown until one like them is measured.")
    if stage.waiting:
        further = sum(max(0, study.expected - len(study.trials)) for study in stage.studies)
        print(
            f"The settings of {len(stage.waiting)} cells are chosen by the trials"
            + (f", of which {further} more follow from the first." if further else ".")
        )
    if unknown < len(left) or not left:
        print(f"About {_hours(known)} left on one slot, by times measured before and budgets in seconds.")
    return ExitCode.FINE


def expected_seconds(cell: Cell, measured: Mapping[str, float]) -> float | None:
    """Wall-clock seconds of a cell: those of its other seeds, else its budget in seconds, else unknown."""
    return measured.get(cell.group_key, cell.budget.seconds)


def _known(db: str, matrix: Matrix) -> tuple[Stage, set[str], dict[str, float]]:
    """The cells, the keys of those measured, and mean seconds by what a duration depends on."""
    from suite.store import open_store, store_exists

    if not store_exists(db):
        return matrix.stage(None), set(), {}
    with open_store(db, create=False) as store:
        stage = matrix.stage(store)
        measured = store.with_result([cell.key for cell in stage.known], matrix.fingerprint)
        return stage, measured, store.durations()


def _hours(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
