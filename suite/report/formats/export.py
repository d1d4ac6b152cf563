"""A report's numbers for other programs: one row a cell, its curves and records, or one JSON document."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from suite.environment import Environment
from suite.records import PHASES, Compressed, FisherError, InverseRank
from suite.report.sections.comparison import comparisons
from suite.report.sections.flags import flags
from suite.report.sections.ranks import ranks
from suite.report.statistics import against_baselines, overall, speedups
from suite.store import frames, tidy
from suite.store.tidy import Tidy, finite, kinds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from suite.analysis.intervals import Estimate
    from suite.report.model import Board, Findings, Result, Smaller, Standing
    from suite.report.statistics import Faster, Versus
    from suite.store import EnvironmentRow

_CELL = {"dataset": str, "optimizer": str, "seed": int}
_RUN = {
    "status": str,
    "iterations": int,
    "train_loss": float,
    "test_loss": float,
    "training_seconds": float,
    "cpu_seconds": float,
    **{f"{phase}_seconds": float for phase in PHASES},
    "peak_memory_bytes": int,
    "device": str,
    "contended": bool,
    "key": str,
    "run": int,
}
_COMPRESSION = {"dataset": str, "optimizer": str, "compression": str, "seed": int}
_CURVE = {"iteration": int, "seconds": float, "cpu_seconds": float, "train_loss": float, "test_loss": float}


def write_csv(findings: Findings, folder: Path) -> list[Path]:
    """`cells.csv`, `curves.csv` (evaluations), `fisher.csv`, `ranks.csv` and `compressions.csv`.

    An absent number is an empty field.
    """
    return [tidy.write_csv(table, folder / f"{name}.csv") for name, table in _tables(findings).items()]


def write_parquet(findings: Findings, folder: Path) -> list[Path]:
    """The tables of `write_csv` as Parquet; an absent number is null.

    Raises:
        SuiteError: pandas or PyArrow is not installed.

    """
    return [frames.write_parquet(table, folder / f"{name}.parquet") for name, table in _tables(findings).items()]


def write_json(findings: Findings, folder: Path) -> list[Path]:
    """`report.json`: boards with their standings, gaps and environments; an absent number is null."""
    document = {
        "name": findings.spec.name,
        "specification": hashlib.sha256(findings.spec.text.encode()).hexdigest(),
        "last_run": findings.ended,
        "cells": findings.cells,
        "measured": findings.measured,
        "boards": [
            {
                "dataset": board.dataset,
                "problem": board.problem,
                "pixels": board.pixels,
                "likelihood": board.likelihood,
                "floor": board.floor,
                "test_floor": board.test_floor,
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
        "compressions": [
            dict(zip(_COMPRESSION, _smaller(result), strict=True)) | row._asdict()
            for kind in findings.compressions
            for result in kind.results
            for row in result.rows
        ],
        "gaps": [{"cell": gap.cell.name, "state": gap.state, "error": gap.error} for gap in findings.gaps],
        "diverged": [result.cell.name for result in findings.diverged],
        "contended": findings.contended,
        "reference_seconds": findings.reference._asdict(),
        "sources": findings.fingerprints,
        "environments": [_environment(row) for row in findings.environments],
    }
    path = folder / "report.json"
    path.write_text(json.dumps(finite(document), indent=2) + "\n")
    return [path]


def _environment(row: EnvironmentRow) -> dict[str, Any]:
    return {field.name: getattr(row, field.name) for field in fields(Environment)}


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


def _tables(findings: Findings) -> dict[str, Tidy]:
    results = [result for board in findings.boards for s in board.standings for result in s.results]
    return {
        "cells": Tidy(_CELL | _RUN, [(*_names(result), *_run(result)) for result in results]),
        "curves": Tidy(_CELL | _CURVE, [(*_names(r), *row) for r in results for row in _curve(r)]),
        "fisher": Tidy(_CELL | kinds(FisherError), [(*_names(r), *row) for r in results for row in r.fisher_errors]),
        "ranks": Tidy(_CELL | kinds(InverseRank), [(*_names(r), *row) for r in results for row in r.inverse_ranks]),
        "compressions": Tidy(
            _COMPRESSION | kinds(Compressed),
            [(*_smaller(r), *row) for kind in findings.compressions for r in kind.results for row in r.rows],
        ),
    }


def _names(result: Result) -> tuple[Any, ...]:
    return tuple(getattr(result.cell, name) for name in _CELL)


def _smaller(result: Smaller) -> tuple[Any, ...]:
    return result.cell.dataset, result.cell.optimizer, result.label, result.cell.seed


def _run(result: Result) -> tuple[Any, ...]:
    run, course, evaluations = result.run, result.course, result.evaluations
    return (
        run.status,
        course.iterations,
        float(evaluations.train_loss[-1]) if len(evaluations.train_loss) else None,
        float(evaluations.test_loss[-1]) if len(evaluations.test_loss) else None,
        course.total_seconds,
        course.total_cpu_seconds,
        *(course.phases[phase] for phase in PHASES),
        run.peak_memory_bytes,
        run.device,
        run.contended,
        run.cell_key,
        run.id,
    )


def _curve(result: Result) -> Iterator[tuple[Any, ...]]:
    iteration, *others = (getattr(result.evaluations, name).tolist() for name in _CURVE)
    return zip(map(int, iteration), *others, strict=True)
