"""A chart, or a picture, as an HTML figure; the data of a chart as JSON within it."""

from __future__ import annotations

import base64
import json
import math
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from suite.report.figures.chart import BarChart, ScatterChart, in_words
from suite.report.figures.palette import dashes, in_the_dark

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from suite.report.figures.chart import Chart, Choice, Style, Trace
    from suite.report.formats.document import Picture

DIGITS = 6
"""Significant digits of the numbers of a chart."""


def chart_figure(picture: Picture, chart: Chart, name: str) -> str:
    """The figure that the page's script fills; `name`: its id, and that of its file of data.

    The script takes the namespace of SVG from the element that is here, so that the page names no address at all.
    """
    return (
        f'<figure class="chart" id="{name}">\n'
        f'<svg role="img" aria-labelledby="{name}-title {name}-words"><title id="{name}-title">{escape(picture.text)}'
        f'</title><desc id="{name}-words">{escape(in_words(chart))}</desc></svg>\n'
        f"<figcaption>{escape(chart.caption)}</figcaption>\n"
        f'<script type="application/json">{as_json(_data(chart))}</script>\n'
        "</figure>"
    )


def picture_figure(picture: Picture, png: bytes) -> str:
    """A picture that has no chart, within the page."""
    data = base64.b64encode(png).decode("ascii")
    text = escape(picture.text)
    return f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}</figcaption></figure>'


def as_json(data: Any) -> str:
    """JSON that nothing in it can end: neither a closing tag nor a comment is left within a script element."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _data(chart: Chart) -> dict[str, Any]:
    if isinstance(chart, BarChart):
        return {
            "kind": "bars",
            "unit": chart.unit,
            "lines": [_style(bar.style) for bar in chart.bars],
            "parts": [_style(part) for part in chart.parts],
            "values": [_numbers(bar.values) for bar in chart.bars],
            "notes": [bar.note for bar in chart.bars],
        }
    if isinstance(chart, ScatterChart):
        return {
            "kind": "points",
            "y": chart.y,
            "log": chart.log,
            "choices": _choices(chart.choices),
            "lines": [_style(line) for line in chart.lines],
            "shapes": list(chart.shapes),
            "marks": [
                {
                    "label": mark.label,
                    "line": mark.line,
                    "shape": mark.shape,
                    "at": list(mark.at),
                    "x": _number(mark.x),
                    "y": _number(mark.y),
                }
                for mark in chart.marks
            ],
        }
    return {
        "kind": "lines",
        "x": chart.x,
        "y": chart.y,
        "log": chart.log,
        "smooth": chart.smooth,
        "choices": _choices(chart.choices),
        "lines": [_style(line) for line in chart.lines],
        "traces": [_trace(trace) for trace in chart.traces],
    }


def _choices(choices: Iterable[Choice]) -> list[dict[str, Any]]:
    return [{"name": choice.name, "options": list(choice.options)} for choice in choices]


def _style(style: Style) -> dict[str, Any]:
    return {
        "name": style.name,
        "light": style.colour,
        "dark": in_the_dark(style.colour),
        "dashes": dashes(style.stroke),
    }


def _trace(trace: Trace) -> dict[str, Any]:
    points = trace.points
    data = {
        "kind": trace.kind,
        "label": trace.label,
        "line": trace.line,
        "at": list(trace.at),
        "seeds": points.seeds,
        "x": _numbers(points.x),
        "y": _numbers(points.median),
    }
    if points.seeds > 1 or not np.array_equal(points.low, points.high):  # bins of one seed have a range too
        data |= {"low": _numbers(points.low), "high": _numbers(points.high)}
    if trace.end is not None:
        data["end"] = _numbers(np.nan if value is None else value for value in trace.end)
    return data


def _numbers(values: Iterable[float] | NDArray[np.float64]) -> list[float | int | None]:
    """Rounded to `DIGITS`, but for whole numbers, which stay what they are; what is not finite is null."""
    return [_number(float(value)) for value in values]


def _number(value: float) -> float | int | None:
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() else float(f"{value:.{DIGITS}g}")
