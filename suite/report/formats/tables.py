"""The tables of a report, as headings and rows of text."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from suite.records import PHASES
from suite.report.collect import last_own_errors
from suite.report.formats.numbers import (
    ABSENT,
    duration,
    hundredths,
    in_order,
    interval,
    number,
    with_interval,
    with_sd,
)
from suite.report.model import CLOCKS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from suite.analysis.speedup import Speedup
    from suite.records import FisherError
    from suite.report.model import Board, Findings, Standing, TargetTime
    from suite.report.sections.comparison import Comparison
    from suite.report.sections.ranks import Kept, Ranks
    from suite.report.statistics import Faster, Overall, Versus


class TextTable(NamedTuple):
    """Headings and rows."""

    headings: list[str]
    rows: list[list[str]]

    def without_empty_columns(self) -> TextTable:
        """The same without columns that hold nothing but —."""
        kept = [i for i in range(len(self.headings)) if any(row[i] != ABSENT for row in self.rows)]
        return TextTable([self.headings[i] for i in kept], [[row[i] for i in kept] for row in self.rows])


def ranking(board: Board) -> TextTable:
    """Final losses: training (mean ± s.d. over seeds) and that mean's interval, above the floor, per pixel, test, best.

    A rank is shared where no difference is shown.
    """
    headings = [
        "",
        "optimizer",
        "training loss",
        "95 % interval",
        "above floor",
        "per pixel",
        "test loss",
        "best training loss",
        "seeds",
    ]
    rows = [
        [
            ABSENT if standing.rank is None else str(standing.rank),
            standing.optimizer,
            with_sd(standing.train_loss),
            interval(standing.interval),
            with_sd(standing.train_loss, shift=board.floor) if board.floor is not None else ABSENT,
            number(standing.train_loss.mean / board.pixels, 4),
            with_sd(standing.test_loss),
            number(standing.best_train_loss, 4),
            _seeds(standing),
        ]
        for standing in board.standings
    ]
    return TextTable(headings, rows).without_empty_columns()


def cost(board: Board) -> TextTable:
    """Seconds an iteration, their ratio to Adam's, and the median times to the targets: for a narrow screen."""
    headings = ["optimizer", "time / iteration", "÷ Adam"]
    for target in board.targets:
        headings += [f"iterations to {target.name}", f"seconds to {target.name}"]
    rows = [
        [
            standing.optimizer,
            duration(standing.seconds_per_iteration),
            number(standing.cost_ratio),
            *(
                text
                for time in standing.targets
                for text in (_median(time, time.iterations, whole=True), _median(time, time.seconds))
            ),
        ]
        for standing in board.standings
    ]
    return TextTable(headings, rows).without_empty_columns()


def targets(board: Board, place: int) -> TextTable:
    """How soon the target at `place` is reached: medians, and restricted means, in iterations, seconds, CPU seconds."""
    headings = ["optimizer", "reached"]
    headings += [text for clock in CLOCKS.values() for text in (clock, f"mean {clock}")]
    rows = [
        [
            standing.optimizer,
            f"{time.hits} of {time.of}" if time.of else ABSENT,
            _reached(time.iterations, time.of, whole=True),
            ABSENT if math.isnan(time.mean_iterations) else f"{time.mean_iterations:,.0f}",
            _reached(time.seconds, time.of),
            number(time.mean_seconds),
            _reached(time.cpu_seconds, time.of),
            number(time.mean_cpu_seconds),
        ]
        for standing in board.standings
        for time in [standing.targets[place]]
    ]
    return TextTable(headings, rows).without_empty_columns()


def differences(found: Sequence[Versus]) -> TextTable:
    """Differences of final training losses at equal seeds, and the probability to end lower."""
    rows = [
        [row.optimizer, row.baseline, with_interval(row.difference), hundredths(row.beats), str(row.beats.n)]
        for row in found
    ]
    return TextTable(["optimizer", "against", "difference", "ends lower", "pairs"], rows)


def speedups(found: Sequence[Faster]) -> TextTable:
    """Ratios of times to a target at equal seeds."""
    rows = [
        [
            row.optimizer,
            row.baseline,
            *(_speedup(each) for each in row.speedups.values()),
            f"{row.speedups['iteration'].pairs} of {row.speedups['iteration'].of}",
        ]
        for row in found
    ]
    return TextTable(["optimizer", "against", *CLOCKS.values(), "pairs"], rows)


def overall(found: Sequence[Overall]) -> TextTable:
    """Mean ranks over data sets, and the probability to end lower than each baseline."""
    baselines = dict.fromkeys(other for row in found for other in row.beats)
    rows = [
        [
            row.optimizer,
            hundredths(row.rank),
            *(hundredths(row.beats[other]) if other in row.beats else ABSENT for other in baselines),
        ]
        for row in found
    ]
    return TextTable(["optimizer", "mean rank", *(f"lower than {other}" for other in baselines)], rows)


def times(board: Board) -> TextTable:
    """Milliseconds of an iteration by phase, their sum and its ratio to Adam's, and the share of refreshes.

    The ratio is to Adam at the same batch size; where batch sizes differ, there is a column of them.
    """
    headings = ["optimizer", "batch", *(phase.replace("_", ", ") for phase in PHASES), "total", "÷ Adam", "refreshes"]
    differ = len({standing.batch_size for standing in board.standings}) > 1
    rows = [
        [
            standing.optimizer,
            str(standing.batch_size) if differ else ABSENT,
            *(number(1e3 * standing.phases[phase] or math.nan) for phase in PHASES),
            number(1e3 * standing.seconds_per_iteration),
            number(standing.cost_ratio),
            f"{standing.refreshes:.0%}" if standing.refreshes > 0 else ABSENT,
        ]
        for standing in board.standings
    ]
    return TextTable(headings, rows).without_empty_columns()


def kept_ranks(ranks: Ranks) -> TextTable:
    """Directions that each layer's inverse keeps, "inputs / outputs", beside its widths."""
    rows = [
        [layer, f"{width_in} / {width_out}", *(_kept(ranks.last(optimizer, layer)) for optimizer in ranks.runs)]
        for layer, (width_in, width_out) in ranks.layers.items()
    ]
    return TextTable(["layer", "width", *ranks.runs], rows)


def runs(findings: Findings) -> TextTable:
    """One row a run that the report counts: its number in the store and its cell's key lead to all its records."""
    rows = [
        [
            board.dataset,
            standing.optimizer,
            str(result.cell.seed),
            str(result.run.id),
            result.run.cell_key,
            result.run.status,
            result.run.device,
            f"{result.course.iterations:,}",
            number(result.course.total_seconds),
            number(1e3 * (result.run.reference_seconds or math.nan)),
        ]
        for board in findings.boards
        for standing in board.standings
        for result in standing.results
    ]
    headings = [
        "data set",
        "optimizer",
        "seed",
        "run",
        "cell",
        "status",
        "device",
        "iterations",
        "seconds",
        "reference, ms",
    ]
    return TextTable(headings, rows)


def fisher(board: Board) -> TextTable | None:
    """Fisher errors at the last measurement, mean over layers and seeds; None where none was measured."""
    rows = [
        [
            standing.optimizer,
            ABSENT if standing.fisher.rank is None else str(standing.fisher.rank),
            number(standing.fisher.in_batch),
            number(standing.fisher.best_in_batch),
            number(standing.fisher.held_out),
            number(standing.fisher.best_held_out),
            number(standing.fisher.efficiency),
        ]
        for standing in board.standings
        if standing.fisher is not None
    ]
    headings = ["optimizer", "terms", "in batch", "best possible", "held out", "best possible, held out", "efficiency"]
    return TextTable(headings, rows).without_empty_columns() if rows else None


def fisher_by_layer(board: Board) -> TextTable | None:
    """The same by layer: "in batch / held out / efficiency" of every optimizer that is shown, mean over seeds."""
    columns: dict[str, dict[str, list[tuple[float, ...]]]] = {}
    for standing in board.shown:
        for result in standing.results:
            for row in last_own_errors(result):
                layers = columns.setdefault(standing.optimizer, {})
                layers.setdefault(row.layer, []).append((row.in_batch, row.held_out, row.efficiency))
    if not columns:
        return None
    names = in_order({layer for column in columns.values() for layer in column})
    rows = [[layer, *(_means(column.get(layer, [])) for column in columns.values())] for layer in names]
    return TextTable(["layer", *columns], rows)


def approximations(comparison: Comparison) -> TextTable:
    """Errors at the last measurement by layer, "in batch (held out)", and the best that any rank can do."""
    optima = {f"best rank {rank}": comparison.of_rank(rank) for rank in comparison.ranks}
    rows = [
        [
            layer,
            *(_both(comparison.last[layer, name], "") for name in comparison.approximations),
            *(_both(comparison.last[layer, name], "best_") for name in optima.values()),
        ]
        for layer in comparison.layers
    ]
    return TextTable(["layer", *comparison.approximations, *optima], rows)


def spectra(comparison: Comparison) -> TextTable | None:
    """Errors of the sorted spectra at the last measurement by layer, in batch; None where they were not measured."""
    if not comparison.has("spectrum"):
        return None
    names = comparison.approximations
    rows = [[layer, *(number(comparison.last[layer, name].spectrum) for name in names)] for layer in comparison.layers]
    return TextTable(["layer", *names], rows)


def _both(row: FisherError, prefix: str) -> str:
    in_batch, held_out = (number(getattr(row, f"{prefix}{where}")) for where in ("in_batch", "held_out"))
    return ABSENT if in_batch == held_out == ABSENT else f"{in_batch} ({held_out})"


def _kept(kept: Kept) -> str:
    return "dense" if kept.dense else f"{kept.inputs:g} / {kept.outputs:g}"


def _means(values: list[tuple[float, ...]]) -> str:
    """As "0.21 / 0.34 / 0.56"; what was not measured at the end is left out."""
    if not values:
        return ABSENT
    texts = [number(sum(column) / len(values)) for column in zip(*values, strict=True)]
    return " / ".join(texts[:-1] if texts[-1] == ABSENT else texts)


def _seeds(standing: Standing) -> str:
    text = f"{len(standing.results)} of {standing.cells}"
    return f"{text}, {standing.diverged} diverged" if standing.diverged else text


def _median(time: TargetTime, median: float | None, *, whole: bool = False) -> str:
    """A median with the number of its hits, where that is not all."""
    return _reached(median, time.of, whole=whole) + (f" ({time.hits} of {time.of})" if time.hits < time.of else "")


def _reached(median: float | None, of: int, *, whole: bool = False) -> str:
    if of == 0:
        return ABSENT
    if median is None:
        return "missed"
    return f"{median:,.0f}" if whole else number(median)


def _speedup(found: Speedup) -> str:
    if math.isnan(found.ratio):
        return ABSENT
    bound = {"at least": "≥ ", "at most": "≤ "}.get(found.kind, "") if math.isfinite(found.ratio) else ""
    text = f"{bound}{number(found.ratio)}"
    return f"{text} {interval(found.interval, 3)}" if found.interval.known else text
