"""The figures of a report about compression: loss against the share of the weights that is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from suite.analysis.curves import band
from suite.report.compression import moment, picture
from suite.report.figures.chart import Choice, LineChart, Style
from suite.report.figures.charts import Pen
from suite.report.figures.palette import styled
from suite.report.formats.numbers import file_name
from suite.report.model import LOSSES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from suite.report.figures.palette import Line
    from suite.report.model import Kind

    Curve = tuple[NDArray[np.float64], NDArray[np.float64]]

_SHARE = "share of the weights that is left"


def compression_charts(kinds: Sequence[Kind]) -> dict[tuple[str, str], LineChart]:
    """(data set, name) → chart."""
    return {(kind.dataset, picture(kind)): _chart(kind) for kind in kinds}


def _chart(kind: Kind) -> LineChart:
    lines, pen = _lines(kind), Pen()
    for line, label in enumerate(lines):
        for i, iteration in enumerate(kind.moments):
            for j, what in enumerate(LOSSES.values()):
                pen.draw("line", label, line, (i, j), _curves(kind, label, iteration, what))
    return LineChart(
        caption="The median over seeds as a line, their range as a band. " + pen.said,
        y=_axis(kind),
        choices=[Choice("when", list(map(moment, kind.moments))), Choice("loss", list(LOSSES))],
        lines=[Style(label, line.color, line.linestyle) for label, line in lines.items()],
        traces=pen.traces,
        log=True,
        x=_SHARE,
    )


def draw_compression(kinds: Sequence[Kind], folder: Path) -> dict[tuple[str, str], Path]:
    """The same as PNG, the training loss before and after fine-tuning side by side: (data set, name) → file."""
    files = {}
    for kind in kinds:
        file = folder / f"{file_name(kind.dataset)}-{file_name(picture(kind))}.png"
        _figure(kind).savefig(file, metadata={"Software": None})
        files[kind.dataset, picture(kind)] = file
    return files


def _figure(kind: Kind) -> Figure:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from suite.report.figures.figures import STYLE
    from suite.report.figures.scales import logarithmic, plain_decades

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10.5, 4.3), layout="constrained")
        axes = list(figure.subplots(1, len(kind.moments), sharey=True, squeeze=False)[0])
        for axis, iteration in zip(axes, kind.moments, strict=True):
            for label, line in _lines(kind).items():
                found = band(_curves(kind, label, iteration, "train_loss"), points=None)
                if found is not None:
                    axis.plot(found.x, found.median, label=label, marker="o", markersize=3.5, **line._asdict())
                    if found.seeds > 1:
                        axis.fill_between(found.x, found.low, found.high, color=line.color, alpha=0.18, linewidth=0)
            words = moment(iteration)
            axis.set_title(words[:1].upper() + words[1:])
            axis.set_xlabel(_SHARE)
        axes[0].set_ylabel(f"training {_axis(kind).replace(', ', chr(10))}")
        logarithmic(axes[0])
        plain_decades(axes[0])
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=max(1, min(len(labels), 4)))
        return figure


def _lines(kind: Kind) -> dict[str, Line]:
    """A colour for each approximation, or method that has none."""
    return styled({label: getattr(method, "approximation", method.method) for label, method in kind.methods.items()})


def _axis(kind: Kind) -> str:
    return f"loss{' above the floor' if kind.floor is not None else ''}, nats per example"


def _curves(kind: Kind, label: str, iteration: int, what: str) -> list[Curve]:
    """Of every seed: ratios, ascending, and losses there, above the training targets' floor."""
    floor = kind.floor or 0.0
    if what == "test_loss":
        floor = next((r.run.test_floor or 0.0 for r in kind.results), 0.0)
    curves = []
    for result in kind.results:
        rows = sorted(row for row in result.rows if result.label == label and row.iteration == iteration)
        if rows:
            x, y = ([getattr(row, name) for row in rows] for name in ("ratio", what))
            curves.append((np.array(x), np.array(y) - floor))
    return curves
