"""Scales of figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def logarithmic(axis: Axes) -> None:
    """A log scale for what is drawn; it stays linear where nothing of it is above 0."""
    if any(np.isfinite(each.dataLim.minposy) for each in axis.get_shared_y_axes().get_siblings(axis)):
        axis.set_yscale("log", nonpositive="mask")


def plain_decades(axis: Axes) -> None:
    """Plain numbers on a log axis, and labels within a decade where it shows few decades."""
    if axis.get_yscale() != "log":
        return
    low, high = axis.get_ylim()
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    if high / low < 300:
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low > 20 else (1, 1.5, 2, 3, 4, 5, 7)))
    axis.yaxis.set_minor_formatter(NullFormatter())
