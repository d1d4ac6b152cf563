"""`kfsvd-bench plan --cost`: what a step of every optimizer is predicted to take on one slot."""

from __future__ import annotations

import json as jsonlib
from typing import TYPE_CHECKING, Any

from tabulate import tabulate

from suite.errors import ExitCode
from suite.plan.plan import load_matrix
from suite.records import PHASES
from suite.scheduling.slots import parse_devices

if TYPE_CHECKING:
    from pathlib import Path

    from suite.cell import Cell
    from suite.cost import Cost, Rates
    from suite.scheduling.slots import Slot

_KNOWN = {"sgd": ("lr", "momentum", "weight_decay"), "adam": ("lr", "eps", "weight_decay")}
"""Of torch's own optimizers, the options that the library takes by the same name; its cost depends on no others."""


def cost(path: Path, selection: str | None, devices: str, *, allow_import: bool, json: bool) -> ExitCode:
    """Print one row an optimizer and data set; no data are loaded and nothing is trained.

    Raises:
        SuiteError: the spec, the selection or the devices cannot be used.

    """
    cells: dict[tuple[str, str], Cell] = {}
    stage = load_matrix(path, selection, allow_import=allow_import).stage(None)
    for cell in [*stage.finals, *stage.waiting]:
        cells.setdefault((cell.dataset, cell.optimizer), cell)
    slot = parse_devices(devices)[0]
    rates = _calibrated(slot)
    predicted: dict[tuple[str, str], Cost] = {}
    unknown: dict[tuple[str, str], str] = {}
    for key, cell in cells.items():
        try:
            predicted[key] = _predicted(cell, rates)
        except ValueError as error:
            unknown[key] = str(error)
    adam = {
        dataset: predicted[dataset, name].total for (dataset, name), c in cells.items() if c.method.method == "adam"
    }
    rows = [_row(*key, each, adam.get(key[0])) for key, each in predicted.items()]
    threads = f"{slot.threads} thread" + "s" * (slot.threads != 1)
    notes = sorted({assumption for each in predicted.values() for assumption in each.assumptions})
    notes += [f"{optimizer} on {dataset}: {why}" for (dataset, optimizer), why in unknown.items()]
    if json:
        print(jsonlib.dumps({"device": slot.device, "threads": slot.threads, "steps": rows, "notes": notes}, indent=2))
        return ExitCode.FINE
    print(tabulate(rows, headers="keys", floatfmt=",.2f", missingval="—"))
    where = f"one slot alone ({slot.device}, {threads})"
    print(f"\nPredicted of one step on {where}, refreshes spread over the steps between.")
    for note in notes:
        print(f"{note[0].upper()}{note[1:]}.")
    return ExitCode.FINE


def _calibrated(slot: Slot) -> Rates:
    import torch

    from suite.cost import calibrate

    before = torch.get_num_threads()
    torch.set_num_threads(slot.threads)
    try:
        return calibrate(slot.device)
    finally:
        torch.set_num_threads(before)


def _predicted(cell: Cell, rates: Rates) -> Cost:
    from suite.cost import step_cost

    network, example = cell.problem.skeleton()
    batch = min(cell.method.batch_size or cell.problem.batch_size, cell.problem.examples)
    method, options = cell.method.method, cell.method.options()
    if method in _KNOWN:
        options = {name: options[name] for name in _KNOWN[method] if name in options}
    return step_cost(network, method, batch, example=example, rates=rates, **options)


def _row(dataset: str, optimizer: str, predicted: Cost, adam: float | None) -> dict[str, Any]:
    return {
        "data set": dataset,
        "optimizer": optimizer,
        "ms a step": 1e3 * predicted.total,
        "÷ Adam": None if adam is None else predicted.total / adam,
        **{phase.replace("_", " + "): 1e3 * predicted.phases[phase] for phase in PHASES},
        "largest part": predicted.dominant,
    }
