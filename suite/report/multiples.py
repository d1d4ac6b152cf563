"""The figure of a comparison of approximations: one small panel a layer, in batch above and held out below."""

from __future__ import annotations

import math
from itertools import cycle
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from suite.report.palette import colour

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from suite.report.comparison import Comparison

MOST_COLUMNS = 6
"""Layers side by side; more are wrapped."""

_ROWS = {"in_batch": "in batch", "held_out": "held out"}
_GREY = "#444444"
_OPTIMA: tuple[Any, ...] = ((0, (5, 2)), (0, (1, 1.5)), "-.")
_STROKES: tuple[Any, ...] = ("-", (0, (6, 1.5)), "-", (0, (2, 2)), "-", (0, (1, 1.5)))
"""Of the approximations in turn: where two coincide, as the rank-2 optima do, the gaps of one show the other."""


def small_multiples(comparison: Comparison) -> Figure:
    """Error against iteration for each layer, a line an approximation, the optimum of each rank in grey."""
    layers = comparison.layers
    bands = math.ceil(len(layers) / MOST_COLUMNS)
    columns = math.ceil(len(layers) / bands)
    figure = Figure(figsize=(max(10.5, 2.1 * columns), 1.0 + 3.7 * bands), layout="constrained")
    figure.suptitle(
        f"‖F − F̂‖ / ‖F‖ along {comparison.optimizer}: on the batch that F̂ is fitted to, and on fresh test examples",
        fontsize=11,
        x=0.01,
        horizontalalignment="left",
    )
    parts = figure.subfigures(bands, 1, squeeze=False, hspace=0.04)[:, 0]
    for band, part in enumerate(parts):
        axes = part.subplots(2, columns, sharex=True, sharey="row", squeeze=False)
        _band(axes, comparison, layers[band * columns : (band + 1) * columns])
    handles, labels = parts[0].axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=math.ceil(len(labels) / math.ceil(len(labels) / 8))
    )
    return figure


def _band(axes: NDArray[Any], comparison: Comparison, layers: Sequence[str]) -> None:
    """Panels of some layers, side by side; places that no layer takes stay empty."""
    for (what, title), row in zip(_ROWS.items(), axes, strict=True):
        for layer, axis in zip(layers, row, strict=False):
            _panel(axis, comparison, layer, what)
        top = max(row[0].get_ylim()[1], 1e-6)
        row[0].set_ylim(-0.03 * top, top)  # a line at zero is seen whole
        row[0].set_ylabel(title)
    for layer, (above, below) in zip(layers, axes.T, strict=False):
        above.set_title(layer)
        below.set_xlabel("iteration")
    for axis in axes[:, len(layers) :].flat:
        axis.set_visible(False)


def _panel(axis: Axes, comparison: Comparison, layer: str, what: str) -> None:
    for name, stroke in zip(comparison.approximations, cycle(_STROKES), strict=False):
        x, y = comparison.curve(layer, name, what)
        axis.plot(x, y, color=colour(name), linestyle=stroke, linewidth=1.9, label=name)
    for rank, stroke in zip(comparison.ranks, _OPTIMA, strict=False):
        x, y = comparison.curve(layer, comparison.of_rank(rank), f"best_{what}")
        axis.plot(x, y, color=_GREY, linestyle=stroke, linewidth=1, label=f"best rank {rank}", zorder=1.5)
    axis.xaxis.set_major_locator(MaxNLocator(4, integer=True, steps=[1, 2, 5, 10]))
    axis.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axis.margins(x=0.04)
