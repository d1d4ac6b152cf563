"""The tuning landscape: what every trial came to, against the options that were tried."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from suite.report.figures.palette import colour
from suite.report.figures.scales import logarithmic, plain_decades
from suite.spec.grids import spelled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from suite.plan.studies import Study
    from suite.plan.trials import Trial

_COLUMNS = 3
_LABELS = 5  # below a panel, at most
_MARKERS = "osD^vP*X"


def landscape(studies: Sequence[Study], floor: float) -> Figure:
    """A panel for each optimizer: final training loss above the floor against its first option, a line for each second.

    A third option is told by the marker; diverged trials are crosses at the top; the best is ringed.

    Args:
        studies: of one data set.
        floor: of the loss, 0 where there is none.

    """
    rows = math.ceil(len(studies) / _COLUMNS)
    columns = min(_COLUMNS, len(studies))
    figure = Figure(figsize=(max(5.0, 3.6 * columns), 0.6 + 3.3 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    losses = [t.loss - floor for s in studies for t in s.trials if t.loss is not None and t.loss > floor]
    top = 1.25 * max(losses, default=1.0)
    for axis, study in zip(panels.flat, studies, strict=False):
        _panel(axis, study, floor, top)
    logarithmic(panels.flat[0])
    plain_decades(panels.flat[0])
    for axis in panels.flat[len(studies) :]:
        axis.set_visible(False)
    for axis in panels[:, 0]:
        axis.set_ylabel("training loss" + (" above the floor" if floor else ""))
    return figure


def _panel(axis: Axes, study: Study, floor: float, top: float) -> None:
    first, *others = _options(study)
    second, third = (*others, None, None)[:2]
    shades = _shades(study, second)
    markers = _values(study, third)
    numeric = _numeric(study, first)
    places = {value: place for place, value in enumerate(_values(study, first))}
    for value in _values(study, second):
        for mark, marker in zip(markers, _MARKERS, strict=False):
            group = [
                t
                for t in study.trials
                if (not second or t.setting[second] == value) and (not third or t.setting[third] == mark)
            ]
            points = sorted(
                (_x(t, first, places, numeric=numeric), _y(t, floor, top)) for t in group if t.score is not None
            )
            if points:
                x, y = np.array(points).T
                label = None if second is None else f"{second}={spelled(value)}" if marker == _MARKERS[0] else None
                axis.plot(x, y, color=shades[value], marker=marker, markersize=4, linewidth=1.1, label=label)
                axis.plot(x[y >= top], y[y >= top], "x", color=shades[value], markersize=8)
    if (best := study.best) is not None:
        at = _x(best, first, places, numeric=numeric), _y(best, floor, top)
        axis.plot(
            *at,
            "o",
            markersize=12,
            fillstyle="none",
            color=colour(study.trials[0].cells[0].method.method),
            markeredgewidth=2,
        )
    axis.set_title(study.optimizer)
    axis.set_xlabel(first + (f"; marker: {third} {', '.join(map(spelled, markers))}" if third else ""))
    if numeric:
        axis.set_xscale("log" if min(t.setting[first] for t in study.trials) > 0 else "linear")  # type: ignore[operator, type-var]
        every = math.ceil(len(places) / _LABELS)
        axis.set_xticks(list(places), [spelled(v) if place % every == 0 else "" for v, place in places.items()])
        axis.xaxis.set_minor_locator(NullLocator())
    else:
        axis.set_xticks(list(places.values()), [spelled(value) for value in places])
    if second is not None and len(shades) <= 8:
        axis.legend(fontsize=7, frameon=False)


def _options(study: Study) -> list[str]:
    """Options in the order in which they are drawn: the learning rate, damping, then as declared."""
    return sorted(study.space, key=lambda option: {"lr": 0, "damping": 1}.get(option, 2))


def _values(study: Study, option: str | None) -> list[Any]:
    """The values of an option that were tried; a single None where there is no such option."""
    if option is None:
        return [None]
    values = list(dict.fromkeys(trial.setting[option] for trial in study.trials))
    return sorted(values) if _numeric(study, option) else values


def _numeric(study: Study, option: str) -> bool:
    values = [trial.setting[option] for trial in study.trials]
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _shades(study: Study, option: str | None) -> dict[Any, Any]:
    """Colours from dark to light along an option's values."""
    values = _values(study, option)
    palette = mpl.colormaps["viridis"]
    return {value: palette(0.05 + 0.8 * place / max(1, len(values) - 1)) for place, value in enumerate(values)}


def _x(trial: Trial, option: str, places: dict[Any, int], *, numeric: bool) -> float:
    value = trial.setting[option]
    return float(value) if numeric else places[value]  # type: ignore[arg-type]


def _y(trial: Trial, floor: float, top: float) -> float:
    """The loss above the floor; at the top where it diverged."""
    return top if trial.loss is None or trial.diverged else max(trial.loss - floor, 1e-12)
