"""What was published beside what is measured: losses by epoch, and how far apart they end."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from suite.analysis.curves import Band
from suite.report.figures.chart import LineChart, Style
from suite.report.figures.charts import Pen
from suite.report.figures.palette import lines
from suite.report.formats.document import Heading, Paragraph, Picture, Table
from suite.report.formats.numbers import ABSENT, number, percent_with_interval, with_sd
from suite.report.formats.tables import TextTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from suite.report.formats.document import Block
    from suite.report.model import Beside, Board
    from suite.spec.published import Published

NAME = "published"
"""Of the picture of each board."""

_OURS: tuple[Any, ...] = ("-", ":", "-.", (0, (1, 3)))  # by place within a method; dashes are the published ones'
_THEIRS = "--"


def published_blocks(board: Board, given: Published | None, found: Sequence[Beside]) -> list[Block]:
    """The section of a board; nothing where nothing of it was published."""
    if given is None or not found:
        return []
    there = found[0].curve.dataset
    known = [row for row in found if row.epoch is not None]
    within = sum(abs(row.difference.value) <= given.band for row in known)
    other = (
        f" The data here are {board.problem}, not the {there} of the published runs: levels need not be the same."
        if board.problem != there
        else ""
    )
    band = f"{100 * given.band:g} %"
    return [
        Heading(f"Beside {given.label}", 3),
        Paragraph(
            f"Training loss by epoch, nats per example: ours solid or dotted, the mean batch loss of each complete "
            f"epoch, median over seeds with their range; dashed, {given.source}. {given.note}".strip()
            + other
        ),
        Picture(board.dataset, NAME, f"{board.dataset}: training loss by epoch beside {given.label}"),
        Paragraph(
            f"{within} of {len(known)} optimizers are within {band} of the published loss at the last epoch that all "
            "their seeds and the published run have. The difference is (ours − published) / published, the mean over "
            "the seeds that did not diverge with Student's 95 % interval; the published run is a single one."
        ),
        Table(_table(found, given.band, band), names=("optimizer", "published curve")),
    ]


def _table(found: Sequence[Beside], width: float, band: str) -> TextTable:
    rows = [
        [
            row.standing.optimizer,
            row.curve.optimizer,
            ABSENT if row.epoch is None else str(row.epoch),
            with_sd(row.ours),
            number(row.theirs, 4),
            percent_with_interval(row.difference),
            ABSENT if row.epoch is None else "yes" if abs(row.difference.value) <= width else "no",
        ]
        for row in found
    ]
    headings = ["optimizer", "published curve", "epoch", "ours", "published", "difference", f"within {band}"]
    return TextTable(headings, rows)


def published_chart(given: Published, found: Sequence[Beside]) -> LineChart:
    """Ours and theirs by epoch, in one colour for each method."""
    styles, pen = lines([row.standing for row in found], _OURS), Pen()
    longest = max((float(epochs[-1]) for row in found for epochs, _ in row.runs if len(epochs)), default=math.inf)
    drawn: list[Style] = []
    theirs: dict[str, Style] = {}
    for row in found:
        style = styles[row.standing.optimizer]
        drawn.append(Style(row.standing.optimizer, *style))
        pen.draw("line", row.standing.optimizer, len(drawn) - 1, (), row.runs)
        if row.curve.optimizer not in theirs:  # two of ours may stand beside one of theirs
            name = f"{row.curve.optimizer}, {given.label}"
            drawn.append(theirs.setdefault(row.curve.optimizer, Style(name, style.color, _THEIRS)))
            losses = np.array(row.curve.losses[: int(min(longest, len(row.curve.losses)))])
            pen.add("line", name, len(drawn) - 1, (), Band(np.arange(1.0, len(losses) + 1), losses, losses, losses, 1))
    return LineChart(
        caption=f"The mean batch loss of each epoch, median over seeds as a line, their range as a band; dashed, "
        f"{given.label}. {pen.said}",
        y="training loss, nats per example",
        choices=[],
        lines=drawn,
        traces=pen.traces,
        log=True,
        x="epoch",
    )
