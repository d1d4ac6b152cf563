"""The numbers of a report, read from the store: one standing for each optimizer on each data set."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from suite.analysis.intervals import t_interval
from suite.analysis.summary import spread
from suite.records import PHASES
from suite.report.compression import kinds
from suite.report.model import Board, Findings, FisherMean, Gap, Result, Standing
from suite.report.published_curves import besides
from suite.report.statistics import profile_chart, tied_ranks
from suite.report.targets import resolve, target_times
from suite.store import queries

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from suite.cell import Cell
    from suite.plan.stage import Stage
    from suite.records import FisherError
    from suite.spec.reading import Spec
    from suite.store import RunRow, Store


def findings(store: Store, spec: Spec, stage: Stage, fingerprint: str | None, *, curves: bool = True) -> Findings:
    """Read all that the report of these cells says.

    Args:
        store: where the measurements are.
        spec: the specification that the cells stem from.
        stage: the cells that the report covers.
        fingerprint: of the sources of kfsvd that results must stem from; None for any.
        curves: whether curves, Fisher errors, ranks of inverses and profiles are read and drawn; rankings need none.

    """
    cells = stage.finals
    keys = [cell.key for cell in stage.measured]
    measured = store.measured(keys, fingerprint)
    latest = store.latest(keys)
    results = [
        Result(
            cell,
            measured[cell.key],
            queries.evaluations(store, measured[cell.key].id),
            queries.course(store, measured[cell.key].id) if curves else queries.end(store, measured[cell.key].id),
            queries.fisher_errors(store, measured[cell.key].id) if curves else [],
            queries.inverse_ranks(store, measured[cell.key].id) if curves else [],
        )
        for cell in cells
        if cell.key in measured
    ]
    runs = list(measured.values())
    ends = sorted(run.ended_at for run in runs if run.ended_at is not None)
    boards = [
        board
        for dataset in dict.fromkeys(cell.dataset for cell in cells)
        if (board := _board(spec, dataset, cells, results)) is not None
    ]
    return Findings(
        spec=spec,
        boards=boards,
        gaps=[
            *(_gap(cell, latest.get(cell.key)) for cell in stage.measured if cell.key not in measured),
            *(Gap(c, "diverged", None) for c in stage.compressions if _status(measured.get(c.key)) == "diverged"),
            *(Gap(cell, "waits for its tuning", None) for cell in stage.waiting),
        ],
        compressions=kinds(store, stage.compressions, measured),
        studies=stage.studies,
        diverged=[result for result in results if result.run.status == "diverged"],
        environments=store.environments(runs),
        fingerprints=sorted({run.fingerprint for run in runs}),
        cells=len(stage.measured) + len(stage.waiting),
        measured=len(measured),
        contended=sum(run.contended for run in runs),
        reference=spread([run.reference_seconds for run in runs if run.reference_seconds is not None]),
        ended=ends[-1].strftime("%Y-%m-%d") if ends else None,
        profile=profile_chart(boards) if curves else None,
        besides={}
        if spec.published is None or not curves
        else {b.dataset: besides(store, b, spec.published) for b in boards},
    )


def _status(run: RunRow | None) -> str | None:
    return None if run is None else run.status


def _gap(cell: Cell, attempt: RunRow | None) -> Gap:
    if attempt is None:
        return Gap(cell, "not run", None)
    if attempt.status in ("done", "diverged"):
        return Gap(cell, "measured with other sources of kfsvd only", None)
    return Gap(cell, attempt.status, attempt.error)


def _board(spec: Spec, dataset: str, cells: Sequence[Cell], results: Sequence[Result]) -> Board | None:
    mine = [result for result in results if result.cell.dataset == dataset]
    if not mine:
        return None
    per_iteration = {
        optimizer: _seconds_per_iteration([r for r in mine if r.cell.optimizer == optimizer])
        for optimizer in dict.fromkeys(result.cell.optimizer for result in mine)
    }
    adam: dict[int, float] = {}  # by batch size, the fastest
    for cell in (r.cell for r in mine if r.cell.method.method == "adam"):
        adam[cell.batch_size] = min(per_iteration[cell.optimizer], adam.get(cell.batch_size, math.inf))
    standings = [
        _standing(
            optimizer,
            [cell for cell in cells if cell.dataset == dataset and cell.optimizer == optimizer],
            [result for result in mine if result.cell.optimizer == optimizer],
            adam,
        )
        for optimizer in dict.fromkeys(cell.optimizer for cell in cells if cell.dataset == dataset)
    ]
    described = next((result.run for result in mine if result.run.pixels is not None), mine[0].run)
    targets = [resolve(target, standings, described.floor) for target in spec.targets.get(dataset, ())]
    times = [target_times(standings, target) for target in targets]
    standings = [
        replace(standing, rank=rank, targets=tuple(each[place] for each in times))
        for place, (standing, rank) in enumerate(zip(standings, tied_ranks(standings), strict=True))
    ]
    standings.sort(key=lambda s: (s.rank is None, s.rank or 0, s.train_loss.mean))
    return Board(
        dataset=dataset,
        problem=described.problem or dataset,
        likelihood=mine[0].cell.problem.likelihood,
        pixels=described.pixels or 1,
        floor=described.floor,
        test_floor=described.test_floor,
        parameters=described.parameters or 0,
        standings=standings,
        targets=targets,
    )


def _standing(
    optimizer: str,
    cells: Sequence[Cell],
    results: list[Result],
    adam: Mapping[int, float],
) -> Standing:
    finite = [r for r in results if r.run.status == "done" and len(r.evaluations.train_loss)]
    each = _seconds_per_iteration(results)
    ends = [float(r.evaluations.train_loss[-1]) for r in finite]
    lowest = [np.nanmin(r.evaluations.train_loss) for r in results if np.isfinite(r.evaluations.train_loss).any()]
    return Standing(
        optimizer=optimizer,
        method=cells[0].method.method,
        batch_size=cells[0].batch_size,
        results=results,
        cells=len(cells),
        train_loss=spread(ends),
        test_loss=spread([float(r.evaluations.test_loss[-1]) for r in finite]),
        best_train_loss=float(min(lowest)) if lowest else math.nan,
        seconds_per_iteration=each,
        cost_ratio=each / adam[cells[0].batch_size] if adam.get(cells[0].batch_size) else None,
        fisher=_fisher_mean(results),
        phases=_phases(results),
        interval=t_interval(ends),
    )


def _seconds_per_iteration(results: Sequence[Result]) -> float:
    each = [r.course.total_seconds / r.course.iterations for r in results if r.course.iterations]
    return float(np.median(each)) if each else math.nan


def _phases(results: Sequence[Result]) -> dict[str, float]:
    """Seconds of an iteration by phase, of the seed in the middle: so that they add up to the median of the totals."""
    courses = [r.course for r in results if r.course.iterations]
    courses.sort(key=lambda course: course.total_seconds / course.iterations)
    middle = courses[(len(courses) - 1) // 2 : len(courses) // 2 + 1]
    each = {phase: [course.phases[phase] / course.iterations for course in middle] for phase in PHASES}
    return {phase: float(np.mean(values)) if values else math.nan for phase, values in each.items()}


def _fisher_mean(results: Sequence[Result]) -> FisherMean | None:
    rows = [row for r in results for row in last_own_errors(r)]
    rows = [row for row in rows if not math.isnan(row.in_batch + row.held_out)]
    if not rows:
        return None
    names = FisherMean._fields[1:]
    means = np.array([[getattr(row, name) for name in names] for row in rows]).mean(0)
    return FisherMean(rows[0].rank, *(float(value) for value in means))


def last_own_errors(result: Result) -> list[FisherError]:
    """The errors of a run's own approximation at its last measurement, a row a layer."""
    rows = result.own_errors
    return [row for row in rows if row.iteration == rows[-1].iteration]
