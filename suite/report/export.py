"""A report's numbers for other programs: one row a cell, its curves, or one JSON document."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from suite.report.comparison import comparisons
from suite.report.flags import flags
from suite.report.ranks import ranks
from suite.report.statistics import against_baselines, overall, speedups

if TYPE_CHECKING:
    from pathlib import Path

    from suite.analysis.intervals import Estimate
    from suite.report.leaderboard import Board, Findings, Result, Standing
    from suite.report.statistics import Faster, Versus

_CELL = ("dataset", "optimizer", "seed")


def write_csv(findings: Findings, folder: Path) -> list[Path]:
    """`cells.csv`, `curves.csv` (evaluations), `fisher.csv` and `ranks.csv`; an absent number is an empty field."""
    results = [result for board in findings.boards for s in board.standings for result in s.results]
    return [
        _rows(folder / "cells.csv", [_cell(result) for result in results]),
        _rows(folder / "curves.csv", [row for result in results for row in _curve(result)]),
        _rows(folder / "fisher.csv", [_names(r) | row._asdict() for r in results for row in r.fisher_errors]),
        _rows(folder / "ranks.csv", [_names(r) | row._asdict() for r in results for row in r.inverse_ranks]),
    ]


def write_json(findings: Findings, folder: Path) -> list[Path]:
    """`report.json`: boards with their standings, gaps and environments; an absent number is null."""
    document = {
        "name": findings.spec.name,
        "cells": findings.cells,
        "measured": findings.measured,
        "boards": [
            {
                "dataset": board.dataset,
                "problem": board.problem,
                "pixels": board.pixels,
                "floor": board.floor,
                "parameters": board.parameters,
                "flags": flags(findings, board),
                "standings": [_standing(standing) for standing in board.standings],
                "differences": [_versus(row) for row in against_baselines(board)],
                "speedups": [
                    {"target": target.value} | row
                    for target in board.targets
                    if not math.isnan(target.value)
                    for faster in speedups(board, target.value)
                    for row in _faster(faster)
                ],
                "inverse_ranks": _ranks(board),
                "approximations": [
                    {"optimizer": comparison.optimizer, "seeds": comparison.seeds} | row._asdict()
                    for comparison in comparisons(board)
                    for row in comparison.last.values()
                ],
            }
            for board in findings.boards
        ],
        "overall": [
            {"optimizer": row.optimizer, "mean_rank": _estimate(row.rank)}
            | {"lower_than": {other: _estimate(each) for other, each in row.beats.items()}}
            for row in overall(findings.boards)
        ],
        "gaps": [{"cell": gap.cell.name, "state": gap.state, "error": gap.error} for gap in findings.gaps],
        "diverged": [result.cell.name for result in findings.diverged],
    }
    path = folder / "report.json"
    path.write_text(json.dumps(_finite(document), indent=2) + "\n")
    return [path]


def _standing(standing: Standing) -> dict[str, Any]:
    return {
        "optimizer": standing.optimizer,
        "method": standing.method,
        "seeds": [r.cell.seed for r in standing.results],
        "cells": standing.cells,
        "diverged": standing.diverged,
        "rank": standing.rank,
        "train_loss": standing.train_loss._asdict() | standing.interval._asdict(),
        "test_loss": standing.test_loss._asdict(),
        "best_train_loss": standing.best_train_loss,
        "seconds_per_iteration": standing.seconds_per_iteration,
        "cost_ratio": standing.cost_ratio,
        "targets": [time._asdict() for time in standing.targets],
        "fisher": None if standing.fisher is None else standing.fisher._asdict(),
        "phases": standing.phases,
    }


def _estimate(estimate: Estimate) -> dict[str, Any]:
    return {"value": estimate.value, "n": estimate.n} | estimate.interval._asdict()


def _versus(row: Versus) -> dict[str, Any]:
    numbers = {"difference": _estimate(row.difference), "ends_lower": _estimate(row.beats)}
    return {"optimizer": row.optimizer, "against": row.baseline} | numbers


def _faster(row: Faster) -> list[dict[str, Any]]:
    """A row for each clock."""
    return [
        {"optimizer": row.optimizer, "against": row.baseline, "clock": clock}
        | {"ratio": found.ratio, "kind": found.kind, "pairs": found.pairs, "of": found.of}
        | found.interval._asdict()
        for clock, found in row.speedups.items()
    ]


def _ranks(board: Board) -> list[dict[str, Any]]:
    """The last measurement of each layer, median over seeds."""
    found = ranks(board)
    if found is None:
        return []
    return [
        {"optimizer": optimizer, "layer": layer, "width_in": width_in, "width_out": width_out}
        | found.last(optimizer, layer)._asdict()
        for optimizer in found.runs
        for layer, (width_in, width_out) in found.layers.items()
    ]


def _names(result: Result) -> dict[str, Any]:
    return {name: getattr(result.cell, name) for name in _CELL}


def _cell(result: Result) -> dict[str, Any]:
    run, course, evaluations = result.run, result.course, result.evaluations
    return _names(result) | {
        "status": run.status,
        "iterations": course.iterations,
        "train_loss": evaluations.train_loss[-1] if len(evaluations.train_loss) else None,
        "test_loss": evaluations.test_loss[-1] if len(evaluations.test_loss) else None,
        "training_seconds": course.total_seconds,
        "cpu_seconds": course.total_cpu_seconds,
        **{f"{phase}_seconds": seconds for phase, seconds in course.phases.items()},
        "peak_memory_bytes": run.peak_memory_bytes,
        "device": run.device,
        "contended": run.contended,
        "key": run.cell_key,
        "run": run.id,
    }


def _curve(result: Result) -> list[dict[str, Any]]:
    columns = asdict(result.evaluations)
    return [_names(result) | dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        if rows:
            writer.writerow(rows[0])
        writer.writerows(["" if value is None or value != value else value for value in row.values()] for row in rows)
    return path


def _finite(value: Any) -> Any:
    """JSON has no NaN: null instead."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
