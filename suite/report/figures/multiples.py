"""Figures of small multiples: a column of panels for each layer, all to one scale."""

from __future__ import annotations

import math
from itertools import cycle
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from suite.analysis.curves import band
from suite.report.figures.palette import APPROXIMATION_LINES, OPTIMUM_COLOUR, OPTIMUM_LINES, colour, lines

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from suite.report.model import Board
    from suite.report.sections.comparison import Comparison
    from suite.report.sections.ranks import Ranks

    Panel = Callable[[Axes, str, str], None]

MOST_COLUMNS = 6
"""Layers side by side; more are wrapped."""


def small_multiples(comparison: Comparison) -> Figure:
    """Error against iteration for each layer, a line an approximation, the optimum of each rank in grey."""

    def panel(axis: Axes, layer: str, what: str) -> None:
        for name, stroke in zip(comparison.approximations, cycle(APPROXIMATION_LINES), strict=False):
            x, y = comparison.curve(layer, name, what)
            axis.plot(x, y, color=colour(name), linestyle=stroke, linewidth=1.9, label=name)
        for rank, stroke in zip(comparison.ranks, OPTIMUM_LINES, strict=False):
            x, y = comparison.curve(layer, comparison.of_rank(rank), f"best_{what}")
            axis.plot(x, y, color=OPTIMUM_COLOUR, linestyle=stroke, linewidth=1, label=f"best rank {rank}", zorder=1.5)
        axis.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))

    def scale(axis: Axes) -> None:
        top = max(axis.get_ylim()[1], 1e-6)
        axis.set_ylim(-0.03 * top, top)  # a line at zero is seen whole

    title = f"‖F − F̂‖ / ‖F‖ along {comparison.optimizer}: on the batch that F̂ is fitted to, and on fresh test examples"
    return _grid(title, comparison.layers, {"in_batch": "in batch", "held_out": "held out"}, panel, scale, height=3.7)


def rank_multiples(ranks: Ranks, board: Board) -> Figure:
    """Directions kept against iteration for each layer, a line an optimizer; medians over seeds, bands their range."""
    styles = lines(board.shown)

    def panel(axis: Axes, layer: str, side: str) -> None:
        axis.set_yscale("symlog", linthresh=1, linscale=0.5)  # a side may keep none
        for optimizer in ranks.runs:
            found = band(ranks.curves(optimizer, layer, side))
            if found is not None:
                style = styles[optimizer]
                axis.plot(found.x, found.median, **style._asdict(), linewidth=1.8, label=optimizer)
                if found.seeds > 1:
                    axis.fill_between(found.x, found.low, found.high, color=style.color, alpha=0.18, linewidth=0)
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.yaxis.set_minor_locator(NullLocator())

    most = max(max(row.inputs, row.outputs) for runs in ranks.runs.values() for run in runs for row in run)

    def scale(axis: Axes) -> None:
        axis.set_ylim(-0.1, 1.3 * max(most, 1))

    title = "Directions that the damped inverse of each layer keeps, of its inputs and of its outputs"
    return _grid(title, list(ranks.layers), {"inputs": "of inputs", "outputs": "of outputs"}, panel, scale, height=3.0)


def _grid(
    title: str,
    layers: Sequence[str],
    rows: Mapping[str, str],
    panel: Panel,
    scale: Callable[[Axes], None],
    *,
    height: float,
) -> Figure:
    """A panel for each layer and row, which share their scales.

    Args:
        title: of the whole.
        layers: from left to right.
        rows: what is drawn, from above, and how it is called.
        panel: draws it of a layer.
        scale: sets the scale of a row by its first panel, once all are drawn.
        height: inches of all rows.

    """
    bands = math.ceil(len(layers) / MOST_COLUMNS)
    columns = math.ceil(len(layers) / bands)
    figure = Figure(figsize=(max(10.5, 2.1 * columns), 1.0 + height * bands), layout="constrained")
    figure.suptitle(title, fontsize=11, x=0.01, horizontalalignment="left")
    parts = figure.subfigures(bands, 1, squeeze=False, hspace=0.04)[:, 0]
    for place, part in enumerate(parts):
        axes = part.subplots(len(rows), columns, sharex=True, sharey="row", squeeze=False)
        _band(axes, layers[place * columns : (place + 1) * columns], rows, panel, scale)
    handles, labels = parts[0].axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=math.ceil(len(labels) / math.ceil(len(labels) / 8))
    )
    return figure


def _band(
    axes: NDArray[Any],
    layers: Sequence[str],
    rows: Mapping[str, str],
    panel: Panel,
    scale: Callable[[Axes], None],
) -> None:
    """Panels of some layers, side by side; places that no layer takes stay empty."""
    for (what, title), row in zip(rows.items(), axes, strict=True):
        for layer, axis in zip(layers, row, strict=False):
            panel(axis, layer, what)
            axis.xaxis.set_major_locator(MaxNLocator(4, integer=True, steps=[1, 2, 5, 10]))
            axis.margins(x=0.04)
        scale(row[0])
        row[0].set_ylabel(title)
    for layer, column in zip(layers, axes.T, strict=False):
        column[0].set_title(layer)
        column[-1].set_xlabel("iteration")
    for axis in axes[:, len(layers) :].flat:
        axis.set_visible(False)
