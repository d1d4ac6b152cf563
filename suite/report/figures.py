"""The figures of a report, as PNG: one colour for a method everywhere, told apart without colour vision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

from suite.records import PHASES
from suite.report.numbers import file_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from suite.report.leaderboard import Board, Result, Standing

_COLOURS = {
    "sgd": "#8c8c8c",
    "adam": "#000000",
    "kfac": "#0072b2",
    "kpsvd": "#d55e00",
    "deflation": "#009e73",
    "lanczos": "#cc79a7",
    "kfac_corrected": "#56b4e9",
    "tkfac": "#8c6d31",
}
_OTHER_COLOURS = ("#7b3294", "#a6761d", "#1b7837", "#b2182b")
_LINES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (1, 3)), (0, (6, 1, 1, 1, 1, 1)))
_PHASE_COLOURS = {"forward_backward": "#b8b8b8", "curvature": "#56b4e9", "inversion": "#e69f00", "update": "#0072b2"}
_POINTS = 200
_STYLE: Any = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "axes.axisbelow": True,
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "savefig.dpi": 130,
    "svg.hashsalt": "kfsvd-bench",
}


def draw_board(board: Board, folder: Path) -> dict[str, Path]:
    """The figures of a data set that its records suffice for: name → file."""
    drawings: dict[str, Callable[[Board], Any]] = {"loss": _loss, "time": _time}
    if any(result.fisher_errors for standing in board.standings for result in standing.results):
        drawings["fisher"] = _fisher
    files = {}
    with plt.rc_context(_STYLE):
        for name, draw in drawings.items():
            figure = draw(board)
            files[name] = folder / f"{file_name(board.dataset)}-{name}.png"
            figure.savefig(files[name], metadata={"Software": None})
            plt.close(figure)
    return files


def _loss(board: Board) -> Any:
    """Training loss (above the floor, where there is one) against iterations and against training seconds."""
    figure, axes = plt.subplots(1, 2, figsize=(10.5, 4.2), sharey=True, layout="constrained")
    floor = board.floor or 0.0
    styles = _styles(board.standings)
    for axis, quantity in zip(axes, ("iteration", "seconds"), strict=True):
        for standing in board.standings:
            runs = [(getattr(r.evaluations, quantity), r.evaluations.train_loss - floor) for r in standing.results]
            _band(axis, runs, label=standing.optimizer, **styles[standing.optimizer])
        axis.set_yscale("log")
        axis.set_xlim(left=0)
        axis.set_xlabel("iteration" if quantity == "iteration" else "training seconds")
    axes[0].set_ylabel("training loss" + (" above the floor" if board.floor is not None else "") + "\nnats per example")
    axes[0].set_title("Per iteration")
    axes[1].set_title("Per second")
    _plain_decades(axes[0])
    axes[1].legend(loc="upper right")
    return figure


def _time(board: Board) -> Any:
    """Milliseconds of an iteration by phase, stacked."""
    standings = [s for s in board.standings if s.phases][::-1]
    figure, axis = plt.subplots(figsize=(10.5, 1.2 + 0.38 * len(standings)), layout="constrained")
    left = np.zeros(len(standings))
    for phase in PHASES:
        widths = np.array([1e3 * s.phases[phase] for s in standings])
        axis.barh(
            [s.optimizer for s in standings],
            widths,
            left=left,
            color=_PHASE_COLOURS[phase],
            label=phase.replace("_", ", "),
        )
        left += widths
    for place, total in enumerate(left):
        axis.text(total, place, f" {total:.3g} ms", va="center")
    axis.margins(x=0.12)
    axis.grid(axis="y", visible=False)
    axis.set_xlabel("milliseconds of an iteration, mean")
    axis.set_title("Where the time goes")
    axis.legend(loc="lower right", ncols=len(PHASES), bbox_to_anchor=(1, 1))
    return figure


def _fisher(board: Board) -> Any:
    """Fisher error over training, mean over layers: in batch and held out, with the optimum of the same rank."""
    figure, axes = plt.subplots(1, 2, figsize=(10.5, 3.8), sharey=True, layout="constrained")
    styles = _styles(board.standings)
    for axis, what in zip(axes, ("in_batch", "held_out"), strict=True):
        for standing in board.standings:
            runs = [_mean_over_layers(r, what) for r in standing.results if r.fisher_errors]
            if not runs:
                continue
            style = styles[standing.optimizer]
            _band(axis, runs, label=standing.optimizer, **style)
            best = [_mean_over_layers(r, f"best_{what}") for r in standing.results if r.fisher_errors]
            _band(axis, best, label=None, color=style["color"], linestyle=(0, (1, 2)), fill=False)
        axis.set_xlabel("iteration")
    axes[0].set_ylabel("‖F − F̂‖ / ‖F‖, mean over layers")
    axes[0].set_title("Fisher error on the fitted batch")
    axes[1].set_title("… and on fresh test examples")
    axes[1].plot([], [], color="#555555", linestyle=(0, (1, 2)), label="best possible at that rank")
    axes[1].legend(loc="best")
    axes[0].set_ylim(bottom=0)
    return figure


def _mean_over_layers(result: Result, what: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    iterations = sorted({row.iteration for row in result.fisher_errors})
    means = [
        np.nanmean(values) if np.isfinite(values).any() else np.nan
        for i in iterations
        for values in [np.array([getattr(row, what) for row in result.fisher_errors if row.iteration == i])]
    ]
    return np.array(iterations, dtype=np.float64), np.array(means)


def _band(
    axis: Axes,
    runs: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]],
    *,
    label: str | None,
    color: str,
    linestyle: Any,
    fill: bool = True,
) -> None:
    """The median over seeds as a line, the range as a band, as far as all seeds go."""
    runs = [(x, y) for x, y in runs if len(x)]
    if not runs:
        return
    grid = np.linspace(max(x[0] for x, _ in runs), min(x[-1] for x, _ in runs), _POINTS)
    values = np.array([np.interp(grid, x, y) for x, y in runs])
    axis.plot(grid, np.median(values, axis=0), label=label, color=color, linestyle=linestyle, linewidth=1.8)
    if fill and len(runs) > 1:
        axis.fill_between(grid, values.min(0), values.max(0), color=color, alpha=0.18, linewidth=0)


def _styles(standings: Sequence[Standing]) -> dict[str, dict[str, Any]]:
    """A colour for each method, a line for each optimizer of that method."""
    styles: dict[str, dict[str, Any]] = {}
    seen: dict[str, int] = {}
    unknown = iter(_OTHER_COLOURS * len(standings))
    colours: dict[str, str] = {}
    for standing in sorted(standings, key=lambda s: s.optimizer):
        method = standing.method
        if method not in colours:
            colours[method] = _COLOURS.get(method) or next(unknown)
        seen[method] = seen.get(method, -1) + 1
        styles[standing.optimizer] = {"color": colours[method], "linestyle": _LINES[seen[method] % len(_LINES)]}
    return styles


def _plain_decades(axis: Axes) -> None:
    """Plain numbers on a log axis, and labels within a decade where it shows few decades."""
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    low, high = axis.get_ylim()
    formatter = ScalarFormatter()
    formatter.set_scientific(False)
    axis.yaxis.set_major_formatter(formatter)
    if low > 0 and high / low < 300:
        axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.yaxis.set_minor_formatter(NullFormatter())
