"""A baseline from the results in a store: the deterministic channel alone.

A store holds the times of cells that were trained one after the other, maybe with others beside them; nothing that was
timed now is interleaved with those, so no ratio of the two would be fair.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from suite.errors import NotComparableError, NothingMeasuredError
from suite.gate.baseline import Baseline, Environment, key_of
from suite.gate.outcomes import Outcome
from suite.store import open_store
from suite.store.queries import evaluations, fisher_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from suite.cell import Cell
    from suite.store import Store
    from suite.store.tables import EnvironmentRow, RunRow


def baseline_from_store(url: str, spec: str, cells: Sequence[Cell]) -> Baseline:
    """The newest result of each cell, whatever sources measured it.

    Raises:
        StoreError: the store cannot be read.
        NothingMeasuredError: it holds none of the cells.
        NotComparableError: it holds them from more than one torch or host.

    """
    with open_store(url, create=False) as store:
        runs = store.measured([cell.key for cell in cells], None)
        chosen = {key_of(cell): runs[cell.key] for cell in cells if cell.key in runs}
        if not chosen:
            raise NothingMeasuredError(
                f"--baseline-db {url}: holds no result of these cells; `kfsvd-bench run` measures them"
            )
        environments = store.environments(chosen.values())
        known = _environment(url, spec, environments)
        outcomes = {key: _outcome(store, run) for key, run in chosen.items()}
    return Baseline(known, outcomes, {key: run.cell_key for key, run in chosen.items()})


def _environment(url: str, spec: str, rows: Sequence[EnvironmentRow]) -> Environment:
    classes = {(row.torch, row.cpu, row.blas, row.system) for row in rows}
    if len(classes) > 1:
        raise NotComparableError(
            f"--baseline-db {url}: these cells were measured on {len(classes)} kinds of host or torch"
        )
    torch, cpu, blas, system = classes.pop()
    version, _, build = torch.partition("+")
    host_class = {"cpu": cpu, "blas": blas, "system": " ".join(system.split()[::2]), "torch_build": build}
    return Environment(version, None, host_class, spec)


def _outcome(store: Store, run: RunRow) -> Outcome:
    """Of the optimizer's own F̂ the errors of the last measurement, as a gate measures them."""
    found = evaluations(store, run.id)
    errors = [error for error in fisher_errors(store, run.id) if error.own]
    last = max((error.iteration for error in errors), default=0)
    return Outcome(
        run.status,
        tuple(int(iteration) for iteration in found.iteration),
        tuple(map(float, found.train_loss)),
        tuple(map(float, found.test_loss)),
        {error.layer: error.held_out for error in errors if error.iteration == last and not math.isnan(error.held_out)},
    )
