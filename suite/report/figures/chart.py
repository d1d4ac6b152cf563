"""What a chart is: lines, bars or points as plain data, for a page that draws it and for a picture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from suite.report.formats.numbers import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from suite.analysis.curves import Band


class Choice(NamedTuple):
    """What the reader chooses among, the first at first."""

    name: str
    options: Sequence[str]


class Style(NamedTuple):
    """A name that can be switched off, with its colour and its stroke as matplotlib takes it."""

    name: str
    colour: str
    stroke: Any = "-"


@dataclass(frozen=True, eq=False)
class Trace:
    """What is drawn of a line under one choice of everything.

    `kind` is "line"; "optimum", the best possible beside it; "faint", in the background; or "diverged", which ends in
    a cross at `end`, however the axes are scaled.
    """

    kind: str
    label: str  # what it is of: an optimizer, or one of its runs
    line: int  # the place in the chart's lines
    at: tuple[int, ...]  # the option of each of the chart's choices
    points: Band
    end: tuple[float, float | None] | None = None  # of a diverged run; without a finite loss there, at the top


@dataclass(frozen=True, eq=False)
class LineChart:
    """Lines against one axis, or against one of several that the first choice, "against", names."""

    caption: str
    y: str
    choices: Sequence[Choice]
    lines: Sequence[Style]
    traces: Sequence[Trace]
    log: bool = False  # at first
    x: str = "iteration"  # where nothing is chosen
    smooth: bool = False  # whether smoothing is offered


class Bar(NamedTuple):
    """The parts of a bar, and what stands beside it."""

    style: Style
    values: Sequence[float]
    note: str


@dataclass(frozen=True, eq=False)
class BarChart:
    """Stacked bars."""

    caption: str
    unit: str
    parts: Sequence[Style]
    bars: Sequence[Bar]


class Mark(NamedTuple):
    """A point of a scatter chart."""

    label: str
    line: int  # the place in the chart's lines, whose colour it has
    shape: int  # the place in the chart's shapes
    at: tuple[int, ...]  # the option of each of the chart's choices
    x: float
    y: float


@dataclass(frozen=True, eq=False)
class ScatterChart:
    """Points of two measures, of which the choice "against" names the horizontal one."""

    caption: str
    y: str
    choices: Sequence[Choice]
    lines: Sequence[Style]
    shapes: Sequence[str]
    marks: Sequence[Mark]
    log: bool = False


Chart = LineChart | BarChart | ScatterChart


def in_words(chart: Chart) -> str:
    """What is seen at first, for those who do not see it: where each line begins and ends, or how long a bar is."""
    if isinstance(chart, BarChart):
        return "; ".join(f"{bar.style.name} {bar.note}" for bar in chart.bars) + "."
    first = tuple(0 for _ in chart.choices)
    if isinstance(chart, ScatterChart):
        marks = [f"{m.label} {number(m.x)}, {number(m.y)}" for m in chart.marks if m.at == first]
        return f"{chart.choices[0].options[0]}, {chart.y}: {'; '.join(marks) if marks else 'nothing to draw'}."
    drawn = [t for t in chart.traces if t.kind in ("line", "optimum") and t.at == first]
    said = [f"{t.label} from {number(_edge(t, 0))} to {number(_edge(t, -1))}" for t in drawn if len(t.points.x)]
    return f"{chart.y}: " + ("; ".join(said) if said else "nothing to draw") + "."


def _edge(trace: Trace, place: int) -> float:
    return float(trace.points.median[place]) if len(trace.points.median) else math.nan
