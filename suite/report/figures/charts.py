"""The figures of a report as plain data, for a page that draws them itself: lines over seeds, and stacked bars.

A chart has the (data set, name) of the picture that it stands for. Lines of many points are thinned as `thinned` says;
what is drawn is what can be downloaded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np

from suite.analysis.curves import Band, band, thinned
from suite.report.figures.chart import Bar, BarChart, Chart, Choice, LineChart, Style, Trace
from suite.report.figures.palette import (
    APPROXIMATION_LINES,
    OPTIMUM_COLOUR,
    OPTIMUM_LINES,
    PHASE_COLOURS,
    colour,
    lines,
)
from suite.report.formats.numbers import duration, in_order, number
from suite.report.model import CLOCKS
from suite.report.sections.comparison import comparisons
from suite.report.sections.ranks import ranks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from suite.report.model import Board, Findings, ProfileChart, Result, Standing
    from suite.report.sections.comparison import Comparison
    from suite.report.sections.ranks import Ranks

    Curve = tuple[NDArray[np.float64], NDArray[np.float64]]

MOST_POINTS = 200
"""Places of a line."""

MOST_POINTS_OF_FAINT = 50
"""Places of a line that stands in the background."""

AXES = {"iteration": "iteration", "training seconds": "seconds", "CPU seconds": "cpu_seconds"}
_LOSSES = {"training": "train_loss", "test": "test_loss"}
_WHERE = {"in batch": "in_batch", "held out": "held_out"}
_SIDES = {"of inputs": "inputs", "of outputs": "outputs"}
_MEAN = "mean over layers"


def charts(findings: Findings) -> dict[tuple[str, str], Chart]:
    """(data set, name) → chart, of all pictures whose data are lines or bars."""
    found = {(board.dataset, name): chart for board in findings.boards for name, chart in _charts(board)}
    if findings.profile is not None:
        found["", "profile"] = _profile(findings.profile, findings)
    return found


def _charts(board: Board) -> Iterator[tuple[str, Chart]]:
    if not board.shown:
        return
    yield "loss", _loss(board)
    yield "time", _time(board)
    if any(result.own_errors for standing in board.shown for result in standing.results):
        yield "fisher", _fisher(board)
    for comparison in comparisons(board):
        yield f"approximations-{comparison.optimizer}", _approximations(comparison)
    if (found := ranks(board)) is not None:
        yield "ranks", _ranks(found, board)


@dataclass
class Pen:
    """Traces that are being drawn, and by how much the longest was thinned."""

    traces: list[Trace] = field(default_factory=list)
    longest: int = 0

    def draw(
        self,
        kind: str,
        label: str,
        line: int,
        at: tuple[int, ...],
        runs: Sequence[Curve],
        end: tuple[float, float | None] | None = None,
    ) -> None:
        """Median and range of the curves of some seeds; nothing where there is nothing in common."""
        found = band(runs, points=None)
        if found is None and end is None:
            return
        none = np.empty(0)
        self.add(kind, label, line, at, Band(none, none, none, none, 0) if found is None else found, end)

    def add(
        self,
        kind: str,
        label: str,
        line: int,
        at: tuple[int, ...],
        points: Band,
        end: tuple[float, float | None] | None = None,
    ) -> None:
        """A trace of points as they are, but for their number."""
        self.longest = max(self.longest, len(points.x))
        most = MOST_POINTS_OF_FAINT if kind == "faint" else MOST_POINTS
        self.traces.append(Trace(kind, label, line, at, thinned(points, most), end))

    @property
    def said(self) -> str:
        """How the points were come by."""
        if self.longest <= MOST_POINTS:
            return "Points are at every place where a seed was measured, the others interpolated linearly."
        return (
            f"Lines of more than {MOST_POINTS} places, up to {self.longest:,} here, are drawn in {MOST_POINTS} bins: "
            "the mean of a bin's medians, and its lowest and highest value as the band."
        )


def _loss(board: Board) -> LineChart:
    """Training or test loss, above the floor where there is one, against iterations or clocks."""
    above = board.floor is not None and board.test_floor is not None
    floors = {"train_loss": board.floor, "test_loss": board.test_floor}
    named, pen = lines(board.shown), Pen()
    place = {standing.optimizer: i for i, standing in enumerate(board.shown)}
    of_method = {standing.method: place[standing.optimizer] for standing in reversed(board.shown)}
    for (i, clock), (j, loss) in ((a, b) for a in enumerate(AXES.values()) for b in enumerate(_LOSSES.values())):
        floor = (floors[loss] or 0.0) if above else 0.0
        for standing in board.standings:
            done = [evaluated(r, clock, loss, floor) for r in standing.results if r.run.status == "done"]
            line = place.get(standing.optimizer, of_method.get(standing.method, 0))
            kind = "line" if standing.optimizer in place else "faint"
            pen.draw(kind, standing.optimizer, line, (i, j), done)
            for result in standing.results:
                if result.run.status == "diverged":
                    label = f"{standing.optimizer} seed {result.cell.seed}"
                    pen.draw("diverged", label, line, (i, j), *diverged_course(result, clock, floor, batches=j == 0))
    crosses = any(standing.diverged for standing in board.standings)
    faint = len(board.shown) < sum(bool(standing.results) for standing in board.standings)
    caption = (
        "The median over seeds of the evaluated loss as a line, their range as a band, as far as all seeds go. "
        + pen.said
        + " Smoothing, where it is chosen, draws the mean of so many neighbouring points in place of each; bands stay."
        + (
            f" The best setting of each method is named; the others stand faintly behind it, in {MOST_POINTS_OF_FAINT} "
            "bins at most."
            if faint
            else ""
        )
        + (" × is where a run diverged, at the end of its batch losses, averaged over bins." if crosses else "")
    )
    return LineChart(
        caption=caption,
        y=f"loss{' above the floor' if above else ''}, nats per example",
        choices=[Choice("against", list(AXES)), Choice("loss", list(_LOSSES))],
        lines=[Style(_label(s), named[s.optimizer].color, named[s.optimizer].linestyle) for s in board.shown],
        traces=pen.traces,
        log=True,
        smooth=True,
    )


def evaluated(result: Result, clock: str, loss: str, floor: float) -> Curve:
    """The evaluated losses of a run above `floor`, by iteration or clock."""
    return getattr(result.evaluations, clock), getattr(result.evaluations, loss) - floor


def diverged_course(
    result: Result, clock: str, floor: float, *, batches: bool
) -> tuple[list[Curve], tuple[float, float | None]]:
    """The batch losses of a run up to its end, and where that is; the end alone where other losses are shown."""
    x, y = getattr(result.course, clock), result.course.loss - floor
    finite = np.isfinite(y)
    if not finite.any() or not batches:
        return [], (float(x[-1]) if len(x) else 0.0, None)
    return [(x, y)], (float(x[finite][-1]), float(y[finite][-1]))


def _label(standing: Standing) -> str:
    if not standing.diverged:
        return standing.optimizer
    return f"{standing.optimizer} ({standing.diverged} of {len(standing.results)} diverged, ×)"


def _time(board: Board) -> BarChart:
    """Milliseconds of an iteration by phase, stacked; what refreshes add comes last."""
    return BarChart(
        caption="Milliseconds of an iteration by phase, of the seed whose total is the median.",
        unit="milliseconds of an iteration",
        parts=[Style(phase.replace("_", ", "), shade) for phase, shade in PHASE_COLOURS.items()],
        bars=[
            Bar(
                Style(standing.optimizer, colour(standing.method)),
                [1e3 * standing.phases[phase] for phase in PHASE_COLOURS],
                costs(standing),
            )
            for standing in board.shown
        ],
    )


def costs(standing: Standing) -> str:
    """What stands at the end of a bar: the time of an iteration, its ratio to Adam's and the share of refreshes."""
    parts = [duration(standing.seconds_per_iteration)]
    if standing.cost_ratio is not None:
        parts.append(f"{number(standing.cost_ratio)} × Adam")
    if standing.refreshes > 0:
        parts.append(f"{standing.refreshes:.0%} refreshes")
    return ", ".join(parts)


def _fisher(board: Board) -> LineChart:
    """Fisher error of the running approximations over training, by layer, with the optimum of the same rank."""
    measured = {s.optimizer: [r for r in s.results if r.own_errors] for s in board.shown}
    measured = {optimizer: results for optimizer, results in measured.items() if results}
    rows = [row for results in measured.values() for result in results for row in result.own_errors]
    layers = in_order({row.layer for row in rows})
    named, pen = lines(board.shown), Pen()
    whats = _WHERE | ({"efficiency": "efficiency"} if any(math.isfinite(row.efficiency) for row in rows) else {})
    for line, (optimizer, results) in enumerate(measured.items()):
        for i, layer in enumerate([None, *layers]):
            for j, what in enumerate(whats.values()):
                pen.draw("line", optimizer, line, (i, j), [own_curve(r, what, layer) for r in results])
                if what in _WHERE.values():
                    best = [own_curve(r, f"best_{what}", layer) for r in results]
                    pen.draw("optimum", f"{optimizer}, best possible", line, (i, j), best)
    return LineChart(
        caption="The median over seeds as a line, their range as a band; dotted, the best possible at that rank. "
        + pen.said,
        y="‖F − F̂‖ / ‖F‖" + (", or efficiency of the direction" if len(whats) > len(_WHERE) else ""),
        choices=[Choice("layer", [_MEAN, *layers]), Choice("error", list(whats))],
        lines=[Style(optimizer, named[optimizer].color, named[optimizer].linestyle) for optimizer in measured],
        traces=pen.traces,
    )


def own_curve(result: Result, what: str, layer: str | None = None) -> Curve:
    """Iterations, and the error `what` of the run's own approximation there: of a layer, or the mean over layers."""
    rows = [row for row in result.own_errors if layer is None or row.layer == layer]
    iterations = sorted({row.iteration for row in rows})
    means = [
        np.nanmean(values) if np.isfinite(values).any() else np.nan
        for i in iterations
        for values in [np.array([getattr(row, what) for row in rows if row.iteration == i])]
    ]
    return np.array(iterations, dtype=np.float64), np.array(means)


def _approximations(comparison: Comparison) -> LineChart:
    """Error of every approximation that is fitted along a training, by layer, and the optimum of each rank."""
    styles = [
        Style(name, colour(name), stroke)
        for name, stroke in zip(comparison.approximations, cycle(APPROXIMATION_LINES), strict=False)
    ]
    optima = dict(zip(comparison.ranks, OPTIMUM_LINES, strict=False))
    styles += [Style(f"best rank {rank}", OPTIMUM_COLOUR, stroke) for rank, stroke in optima.items()]
    pen = Pen()
    for i, layer in enumerate(comparison.layers):
        for j, what in enumerate(_WHERE.values()):
            curves = [comparison.curve(layer, name, what) for name in comparison.approximations]
            curves += [comparison.curve(layer, comparison.of_rank(rank), f"best_{what}") for rank in optima]
            for line, curve in enumerate(curves):
                kind = "line" if line < len(comparison.approximations) else "optimum"
                pen.draw(kind, styles[line].name, line, (i, j), [curve])
    seeds = f"Means over {comparison.seeds} seeds. " if comparison.seeds > 1 else ""
    return LineChart(
        caption=f"{seeds}In grey, what no sum of so many Kronecker products lies below. {pen.said}",
        y="‖F − F̂‖ / ‖F‖",
        choices=[Choice("layer", comparison.layers), Choice("error", list(_WHERE))],
        lines=styles,
        traces=pen.traces,
    )


def _ranks(found: Ranks, board: Board) -> LineChart:
    """Directions that each layer's inverse keeps over training."""
    named, pen = lines(board.shown), Pen()
    for line, optimizer in enumerate(found.runs):
        for i, layer in enumerate(found.layers):
            for j, side in enumerate(_SIDES.values()):
                pen.draw("line", optimizer, line, (i, j), found.curves(optimizer, layer, side))
    return LineChart(
        caption="The median over seeds as a line, their range as a band. " + pen.said,
        y="directions kept",
        choices=[Choice("layer", list(found.layers)), Choice("side", list(_SIDES))],
        lines=[Style(optimizer, named[optimizer].color, named[optimizer].linestyle) for optimizer in found.runs],
        traces=pen.traces,
    )


def _profile(profile: ProfileChart, findings: Findings) -> LineChart:
    """The share of problems solved within a factor of the fastest, as steps."""
    styles = lines({s.optimizer: s for board in findings.boards for s in board.standings}.values())
    traces = []
    for at, profiles in enumerate(profile.by_clock.values()):
        x = profiles.factors.repeat(2)[1:]
        for line, optimizer in enumerate(profile.optimizers):
            share, low, high = (part[line].repeat(2)[:-1] for part in (profiles.shares, profiles.low, profiles.high))
            banded = bool(np.isfinite(low).all())
            points = Band(x, share, low if banded else share, high if banded else share, 2 if banded else 1)
            traces.append(Trace("line", optimizer, line, (at,), points))
    return LineChart(
        caption="The share of problems solved within a factor of the fastest time, with its band.",
        y="share of problems solved",
        choices=[Choice("time", [CLOCKS[clock] for clock in profile.by_clock])],
        lines=[Style(name, styles[name].color, styles[name].linestyle) for name in profile.optimizers],
        traces=traces,
        x="factor of the fastest",
    )
