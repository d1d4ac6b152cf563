"""The figures of a report, as PNG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from suite.analysis.curves import band
from suite.report.figures.charts import costs, own_curve
from suite.report.figures.landscape import landscape
from suite.report.figures.multiples import rank_multiples, small_multiples
from suite.report.figures.palette import PHASE_COLOURS, colour, lines
from suite.report.figures.scales import logarithmic, plain_decades
from suite.report.formats.numbers import file_name
from suite.report.model import CLOCKS
from suite.report.sections.comparison import comparisons
from suite.report.sections.ranks import ranks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from suite.report.figures.palette import Line
    from suite.report.model import Board, Findings, ProfileChart, Standing

    Curve = tuple[NDArray[np.float64], NDArray[np.float64]]

_DOTS = (0, (1, 2))
STYLE: Any = {
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
}


def draw_board(board: Board, folder: Path) -> dict[str, Path]:
    """The figures of a data set that its records suffice for: name → file."""
    drawings: dict[str, Callable[[Board], Figure]] = {"loss": _loss, "time": _time}
    if any(result.own_errors for standing in board.shown for result in standing.results):
        drawings["fisher"] = _fisher
    files = {}
    with mpl.rc_context(STYLE):
        for name, draw in drawings.items():
            files[name] = folder / f"{file_name(board.dataset)}-{name}.png"
            draw(board).savefig(files[name], metadata={"Software": None})
        for comparison in comparisons(board):
            name = f"approximations-{comparison.optimizer}"
            files[name] = folder / f"{file_name(board.dataset)}-{file_name(name)}.png"
            small_multiples(comparison).savefig(files[name], metadata={"Software": None})
        if (found := ranks(board)) is not None:
            files["ranks"] = folder / f"{file_name(board.dataset)}-ranks.png"
            rank_multiples(found, board).savefig(files["ranks"], metadata={"Software": None})
    return files


def draw_tuning(findings: Findings, folder: Path) -> dict[str, Path]:
    """The tuning landscape of every data set with trials: data set → file."""
    floors = {board.dataset: board.floor for board in findings.boards}
    files = {}
    with mpl.rc_context(STYLE):
        for dataset in dict.fromkeys(study.dataset for study in findings.studies):
            studies = [
                s for s in findings.studies if s.dataset == dataset and any(t.score is not None for t in s.trials)
            ]
            if studies:
                files[dataset] = folder / f"{file_name(dataset)}-tuning.png"
                figure = landscape(studies, floors.get(dataset) or 0.0)
                figure.savefig(files[dataset], metadata={"Software": None})
    return files


def draw_whole(findings: Findings, folder: Path) -> dict[str, Path]:
    """The figures of a report as a whole: name → file."""
    if findings.profile is None:
        return {}
    file = folder / "profile.png"
    with mpl.rc_context(STYLE):
        _profile(findings.profile, findings).savefig(file, metadata={"Software": None})
    return {"profile": file}


def _profile(chart: ProfileChart, findings: Findings) -> Figure:
    """The share of problems solved within a factor of the fastest, by iterations, seconds and CPU seconds."""
    figure = Figure(figsize=(10.5, 4.1), layout="constrained")
    axes = list(figure.subplots(1, len(chart.by_clock), sharey=True))
    found = {s.optimizer: s for board in findings.boards for s in board.standings}
    styles = lines(found[optimizer] for optimizer in chart.optimizers)
    for axis, (clock, profiles) in zip(axes, chart.by_clock.items(), strict=True):
        for i, optimizer in enumerate(chart.optimizers):
            style = styles[optimizer]
            axis.step(
                profiles.factors, profiles.shares[i], where="post", label=optimizer, linewidth=1.8, **style._asdict()
            )
            if np.isfinite(profiles.low[i]).all():
                low, high = profiles.low[i], profiles.high[i]
                axis.fill_between(profiles.factors, low, high, step="post", color=style.color, alpha=0.08, linewidth=0)
        axis.margins(x=0)
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_xlabel(f"factor of the fastest, {CLOCKS[clock]}")
    axes[0].set_ylim(-0.02, 1.02)
    axes[0].set_ylabel("share of problems solved")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=max(1, min(len(labels), 8)))
    return figure


def _loss(board: Board) -> Figure:
    """Training loss (above the floor, where there is one) against iterations and against training seconds."""
    figure, axes = _two_panels(height=4.5)
    floor = board.floor or 0.0
    styles = lines(board.shown)
    panels = {"iteration": axes[0], "seconds": axes[1]}
    for quantity, axis in panels.items():
        for standing in board.shown:
            done = [r.evaluations for r in standing.results if r.run.status == "done"]
            curves = [(getattr(e, quantity), e.train_loss - floor) for e in done]
            _draw(axis, curves, styles[standing.optimizer], label=_label(standing))
    logarithmic(axes[0])
    for quantity, axis in panels.items():
        if any(standing.train_loss.n for standing in board.shown):  # what follows does not stretch the axes
            axis.set(xlim=axis.get_xlim(), ylim=axis.get_ylim())
        for standing in board.standings:
            _extras(axis, standing, quantity, floor, named=standing in board.shown)
        axis.set_xlim(left=0)
    axes[0].set_xlabel("iteration")
    axes[1].set_xlabel("training seconds")
    axes[0].set_ylabel("training loss" + (" above the floor" if board.floor is not None else "") + "\nnats per example")
    axes[0].set_title("Per iteration")
    axes[1].set_title("Per second")
    plain_decades(axes[0])
    _legend(figure, axes[0], board)
    return figure


def _extras(axis: Axes, standing: Standing, quantity: str, floor: float, *, named: bool) -> None:
    """Runs that diverged, by their batch losses up to a cross; and settings too many to name, faintly."""
    shade = colour(standing.method)
    for result in standing.results:
        if result.run.status == "diverged":
            x, y = getattr(result.course, quantity), result.course.loss - floor
            x, y = x[np.isfinite(y) & (y > 0)], y[np.isfinite(y) & (y > 0)]
            alpha = 0.7 if named else 0.25
            axis.plot(x, y, color=shade, linewidth=1, alpha=alpha)
            if len(x):
                low, high = axis.get_ylim()
                axis.plot(x[-1:], np.clip(y[-1:], low, high), "x", color=shade, alpha=alpha, clip_on=False)
        elif not named:
            y = result.evaluations.train_loss - floor
            axis.plot(getattr(result.evaluations, quantity), y, color=shade, linewidth=0.8, alpha=0.25, zorder=1)


def _time(board: Board) -> Figure:
    """Milliseconds of an iteration by phase, stacked; what refreshes add comes last."""
    standings = board.shown[::-1]
    figure = Figure(figsize=(10.5, 1.3 + 0.36 * len(standings)), layout="constrained")
    axis = figure.subplots()
    left = np.zeros(len(standings))
    for phase, shade in PHASE_COLOURS.items():
        widths = np.array([1e3 * standing.phases[phase] for standing in standings])
        names = [standing.optimizer for standing in standings]
        axis.barh(names, widths, left=left, color=shade, height=0.72, label=phase.replace("_", ", "))
        left += widths
    for place, (standing, total) in enumerate(zip(standings, left, strict=True)):
        axis.text(total, place, f" {costs(standing)}", va="center", fontsize=9)
    for label, standing in zip(axis.get_yticklabels(), standings, strict=True):
        label.set_color(colour(standing.method))
    axis.set_xlim(right=1.33 * left.max())
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="y", length=0)
    axis.set_xlabel("milliseconds of an iteration")
    axis.set_title("Where the time goes")
    figure.legend(loc="outside lower center", ncols=len(PHASE_COLOURS))
    return figure


def _fisher(board: Board) -> Figure:
    """Over training, mean over layers: Fisher error in batch and held out, with the optimum of its rank; efficiency."""
    figure = Figure(figsize=(10.5, 4.1), layout="constrained")
    whats = {"in_batch": "best_in_batch", "held_out": "best_held_out"} | (
        {"efficiency": None} if _steered(board) else {}
    )
    axes = list(figure.subplots(1, len(whats)))
    axes[1].sharey(axes[0])
    styles = lines(board.shown)
    for axis, (what, optimum) in zip(axes, whats.items(), strict=True):
        for standing in board.shown:
            measured = [result for result in standing.results if result.own_errors]
            if not measured:
                continue
            style = styles[standing.optimizer]
            _draw(axis, [own_curve(r, what) for r in measured], style, label=standing.optimizer)
            if optimum is not None:
                best = [own_curve(r, optimum) for r in measured]
                _draw(axis, best, style._replace(linestyle=_DOTS), label=None, fill=False)
        axis.set_xlabel("iteration")
    for axis in axes[2:]:
        axis.set_title("Efficiency of the direction")
    axes[0].set_ylabel("‖F − F̂‖ / ‖F‖, mean over layers")
    axes[0].set_title("Fisher error on the fitted batch")
    axes[1].set_title("… and on fresh test examples")
    axes[0].plot([], [], color="#555555", linestyle=_DOTS, label="best possible at that rank")
    axes[0].set_ylim(bottom=0)
    _legend(figure, axes[0], board)
    return figure


def _steered(board: Board) -> bool:
    """Whether the efficiency of any direction was measured."""
    return any(
        np.isfinite(row.efficiency) for standing in board.shown for r in standing.results for row in r.own_errors
    )


def _draw(axis: Axes, runs: Sequence[Curve], line: Line, *, label: str | None, fill: bool = True) -> None:
    """The median over seeds as a line, the range as a band; without anything to draw, the legend's entry alone."""
    found = band(runs)
    if found is None:
        axis.plot([], [], label=label, color=line.color, linestyle=line.linestyle, linewidth=1.8)
        return
    axis.plot(found.x, found.median, label=label, color=line.color, linestyle=line.linestyle, linewidth=1.8)
    if fill and found.seeds > 1:
        axis.fill_between(found.x, found.low, found.high, color=line.color, alpha=0.18, linewidth=0)


def _two_panels(height: float) -> tuple[Figure, Sequence[Axes]]:
    figure = Figure(figsize=(10.5, height), layout="constrained")
    return figure, list(figure.subplots(1, 2, sharey=True))


def _label(standing: Standing) -> str:
    if not standing.diverged:
        return standing.optimizer
    return f"{standing.optimizer} ({standing.diverged} of {len(standing.results)} diverged, ×)"


def _legend(figure: Figure, axis: Axes, board: Board) -> None:
    """Below the panels, where it covers no curve."""
    handles, labels = axis.get_legend_handles_labels()
    many = len(board.shown) < sum(bool(standing.results) for standing in board.standings)
    longest = max(map(len, labels), default=1)
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=max(1, min(len(labels), 120 // (longest + 8))),
        title="the best setting of each method; all others faint" if many else None,
    )
