"""Charts as PNG: a panel for each option of a chart's first choice, everything else as it is at first."""

from __future__ import annotations

import math
from itertools import cycle
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from suite.report.figures.chart import LineChart, ScatterChart
from suite.report.figures.figures import STYLE
from suite.report.figures.scales import logarithmic, plain_decades
from suite.report.formats.numbers import file_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes


SHAPES: tuple[str, ...] = ("o", "s", "^", "D", "v", "P")
"""Of the data sets of a scatter chart in turn; the page's script draws the same."""
_MOST_COLUMNS = 3


def draw_charts(
    charts: Mapping[tuple[str, str], LineChart | ScatterChart], folder: Path
) -> dict[tuple[str, str], Path]:
    """The charts as PNG: (data set, name) → file."""
    files = {}
    with mpl.rc_context(STYLE):
        for (dataset, name), chart in charts.items():
            files[dataset, name] = folder / f"{'-'.join(map(file_name, filter(None, (dataset, name))))}.png"
            panels(chart).savefig(files[dataset, name], metadata={"Software": None})
    return files


def panels(chart: LineChart | ScatterChart) -> Figure:
    """The figure of a chart."""
    titles = chart.choices[0].options if chart.choices else [""]
    columns = min(len(titles), _MOST_COLUMNS)
    rows = math.ceil(len(titles) / columns)
    figure = Figure(figsize=(10.5 if columns > 1 else 7.5, 1.0 + 3.7 * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for place, (title, axis) in enumerate(zip(titles, axes, strict=False)):
        at = (place, *(0 for _ in chart.choices[1:])) if chart.choices else ()
        if isinstance(chart, LineChart):
            _lines(axis, chart, at)
        else:
            _marks(axis, chart, at)
        horizontal = _horizontal(chart, at)
        axis.set(xlabel=horizontal, title="" if title == horizontal else title)
        if chart.log:
            logarithmic(axis)
            plain_decades(axis)
    for axis in axes[len(titles) :]:
        axis.set_visible(False)
    for row in range(rows):
        axes[row * columns].set_ylabel(chart.y.replace(", nats", ",\nnats"))
    _legend(figure, axes[: len(titles)])
    return figure


def _horizontal(chart: LineChart | ScatterChart, at: tuple[int, ...]) -> str:
    """The name of the horizontal axis."""
    chosen = [choice.options[i] for choice, i in zip(chart.choices, at, strict=True) if choice.name == "against"]
    return chosen[0] if chosen else chart.x if isinstance(chart, LineChart) else ""


def _lines(axis: Axes, chart: LineChart, at: tuple[int, ...]) -> None:
    """Lines with their bands; then runs that diverged, which stretch no axis."""
    there = [trace for trace in chart.traces if trace.at == at]
    for trace in (trace for trace in there if trace.kind == "line"):
        style, points = chart.lines[trace.line], trace.points
        axis.plot(points.x, points.median, label=style.name, color=style.colour, linestyle=style.stroke, linewidth=1.7)
        if points.seeds > 1:
            axis.fill_between(points.x, points.low, points.high, color=style.colour, alpha=0.16, linewidth=0)
    if axis.lines:
        axis.set(xlim=axis.get_xlim(), ylim=axis.get_ylim())
    for trace in (trace for trace in there if trace.kind == "diverged"):
        style = chart.lines[trace.line]
        axis.plot(trace.points.x, trace.points.median, label=style.name, color=style.colour, linewidth=1, alpha=0.7)
        if trace.end is not None and trace.end[1] is not None:
            inside = np.clip(trace.end[1], *axis.get_ylim())
            axis.plot(trace.end[0], inside, "x", color=style.colour, clip_on=False)


def _marks(axis: Axes, chart: ScatterChart, at: tuple[int, ...]) -> None:
    shapes = dict(zip(range(len(chart.shapes)), cycle(SHAPES), strict=False))
    for mark in (mark for mark in chart.marks if mark.at == at):
        axis.plot(mark.x, mark.y, shapes[mark.shape], color=chart.lines[mark.line].colour, markersize=7, alpha=0.9)
    for style in chart.lines:
        axis.plot([], [], "o", color=style.colour, label=style.name)
    if len(chart.shapes) > 1:
        for place, name in enumerate(chart.shapes):
            axis.plot([], [], shapes[place], color="none", markeredgecolor="#444444", label=name)


def _legend(figure: Figure, axes: Sequence[Axes]) -> None:
    """Each name once, below the panels."""
    found: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if found:
        longest = max(map(len, found))
        columns = max(1, min(len(found), 120 // (longest + 8)))
        figure.legend(list(found.values()), list(found), loc="outside lower center", ncols=columns)
