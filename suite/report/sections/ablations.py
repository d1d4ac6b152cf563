"""Ablations: for each a figure, the differences from its baseline at equal seeds, and two sentences made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from suite.analysis.paired import difference, probability_lower
from suite.report.figures.chart import Choice, LineChart, Style
from suite.report.figures.charts import AXES, Pen, diverged_course, evaluated
from suite.report.figures.palette import told_apart
from suite.report.formats.document import Heading, Paragraph, Picture, Table
from suite.report.formats.numbers import ABSENT, duration, hundredths, number, with_interval, with_sd
from suite.report.formats.tables import TextTable
from suite.report.statistics import final_losses

if TYPE_CHECKING:
    from collections.abc import Sequence

    from suite.analysis.intervals import Estimate
    from suite.report.formats.document import Block
    from suite.report.model import Board, Findings, Standing
    from suite.spec.ablations import Ablation

_MOST_NAMED = 6
"""Comparisons that a sentence lists; the table has all."""


class Against(NamedTuple):
    """An optimizer of an ablation on a data set against the baseline there."""

    dataset: str
    standing: Standing
    baseline: Standing
    difference: Estimate  # optimizer − baseline, final training loss, nats per example
    lower: Estimate  # the probability that the optimizer ends lower

    @property
    def name(self) -> str:
        """For a sentence."""
        return f"{self.standing.optimizer} on {self.dataset}"


def ablation_name(place: int) -> str:
    """Of the picture of the ablation at `place`."""
    return f"ablation-{place + 1}"


def against(findings: Findings, ablation: Ablation) -> list[Against]:
    """Every other optimizer of an ablation against its baseline, on each data set where both have a result."""
    found = []
    for board in findings.boards:
        there = _of(board, ablation)
        baseline = there.get(ablation.baseline)
        for standing in there.values() if baseline is not None else ():
            if baseline is None or standing is baseline:
                continue
            ours, theirs = final_losses(standing), final_losses(baseline)
            found.append(
                Against(board.dataset, standing, baseline, difference(ours, theirs), probability_lower(ours, theirs))
            )
    return found


def ablation_blocks(findings: Findings) -> list[Block]:
    """A section for each ablation of the specification that something is measured of."""
    blocks: list[Block] = []
    for place, ablation in enumerate(findings.spec.ablations):
        found = against(findings, ablation)
        if not found:
            continue
        blocks += [
            Heading(ablation.name, 3),
            Paragraph(ablation.question),
            Picture("", ablation_name(place), f"{ablation.name}: training loss"),
            Paragraph(" ".join(sentences(ablation, found))),
            Table(_table(findings, ablation), names=("optimizer", "data set")),
        ]
    if blocks:
        explained = (
            "Optimizers that differ in one thing, each held against a baseline at equal seeds, where both start from "
            "the same weights and see the same batches. Differences are optimizer − baseline, final training loss in "
            "nats per example, with the paired 95 % t interval, each by itself; a difference is said to be shown where "
            "its interval excludes 0."
        )
        blocks = [Heading("Ablations"), Paragraph(explained), *blocks]
    return blocks


def sentences(ablation: Ablation, found: Sequence[Against]) -> tuple[str, str]:
    """What is shown, and what is not: no more than the intervals say."""
    fair = [row for row in found if row.standing.diverged == row.baseline.diverged == 0]
    lower = [row for row in fair if row.difference.interval.known and row.difference.interval.high < 0]
    higher = [row for row in fair if row.difference.interval.known and row.difference.interval.low > 0]
    parts = [
        f"{_listed([f'{row.name} ({with_interval(row.difference)})' for row in rows])} {verb} {word}"
        for rows, word in ((lower, "lower"), (higher, "higher"))
        if rows
        for verb in ["ends" if len(rows) == 1 else "end"]
    ]
    shown = (
        f"At equal seeds {', and '.join(parts)} than {ablation.baseline}."
        if parts
        else f"No difference from {ablation.baseline} is shown."
    )
    return shown, " ".join(_rest(ablation, found, fair, [*lower, *higher]))


def _rest(ablation: Ablation, found: Sequence[Against], fair: Sequence[Against], shown: Sequence[Against]) -> list[str]:
    """What is open and why, in one sentence."""
    parts = []
    open_rows = [row for row in fair if row.difference.interval.known and row not in shown]
    if open_rows:
        listed = _listed([f"{row.name} ({with_interval(row.difference)})" for row in open_rows])
        parts.append(f"either direction is possible for {listed}")
    same = [row for row in fair if row.difference.n > 1 and not row.difference.interval.known]
    if same:  # no spread at all
        listed = _listed([f"{row.name} ({number(row.difference.value)})" for row in same])
        parts.append(f"all seeds differ by the same for {listed}")
    if alone := [row for row in fair if row.difference.n < 2]:
        listed = _listed([f"{row.name} ({number(row.difference.value)})" for row in alone])
        parts.append(f"a single seed allows no interval for {listed}")
    if lost := [row for row in found if row not in fair]:
        listed = _listed([f"{row.name} ({_diverged(row)})" for row in lost])
        parts.append(f"seeds diverged, so that means do not compare, for {listed}")
    if not parts:
        return [f"Nothing is left open: every difference from {ablation.baseline} is shown."]
    text = "; ".join(parts)
    return [f"{text[0].upper()}{text[1:]}."]


def _diverged(row: Against) -> str:
    ours, theirs = row.standing, row.baseline
    return f"{ours.diverged} of {len(ours.results)}, of the baseline {theirs.diverged} of {len(theirs.results)}"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    if more > 0:
        return f"{', '.join(names[:_MOST_NAMED])} and {more} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _of(board: Board, ablation: Ablation) -> dict[str, Standing]:
    """The ablation's optimizers that have a result on a board, in its order."""
    there = {standing.optimizer: standing for standing in board.standings if standing.results}
    return {label: there[label] for label in ablation.optimizers if label in there}


def _table(findings: Findings, ablation: Ablation) -> TextTable:
    found = {(row.dataset, row.standing.optimizer): row for row in against(findings, ablation)}
    rows = []
    for board in findings.boards:
        there = _of(board, ablation)
        for label, standing in there.items() if ablation.baseline in there else ():
            row = found.get((board.dataset, label))
            rows.append(
                [
                    board.dataset,
                    label,
                    with_sd(standing.train_loss),
                    ABSENT if row is None else with_interval(row.difference),
                    ABSENT if row is None else hundredths(row.lower),
                    ABSENT if row is None else str(row.difference.n),
                    duration(standing.seconds_per_iteration),
                    str(standing.diverged) if standing.diverged else ABSENT,
                ]
            )
    headings = [
        "data set",
        "optimizer",
        "training loss",
        f"difference from {ablation.baseline}",
        "ends lower",
        "pairs",
        "time / iteration",
        "diverged",
    ]
    return TextTable(headings, rows).without_empty_columns()


def ablation_chart(findings: Findings, ablation: Ablation) -> LineChart:
    """Losses of an ablation's optimizers alone, by data set."""
    boards = [board for board in findings.boards if ablation.baseline in _of(board, ablation)]
    above = all(board.floor is not None for board in boards)
    styles = _styles(boards, ablation)
    place, pen = {label: i for i, label in enumerate(styles)}, Pen()
    crossed = False
    for i, board in enumerate(boards):
        floor = (board.floor or 0.0) if above else 0.0
        for j, clock in enumerate(AXES.values()):
            for label, standing in _of(board, ablation).items():
                done = [evaluated(r, clock, "train_loss", floor) for r in standing.results if r.run.status == "done"]
                pen.draw("line", label, place[label], (i, j), done)
                for result in standing.results:
                    if result.run.status == "diverged":
                        crossed = True
                        end = diverged_course(result, clock, floor, batches=True)
                        pen.draw("diverged", f"{label} seed {result.cell.seed}", place[label], (i, j), *end)
    return LineChart(
        caption="The median over seeds of the evaluated training loss as a line, their range as a band. "
        + pen.said
        + (" × is where a run diverged." if crossed else ""),
        y=f"training loss{' above the floor' if above else ''}, nats per example",
        choices=[Choice("data set", [board.dataset for board in boards]), Choice("against", list(AXES))],
        lines=list(styles.values()),
        traces=pen.traces,
        log=True,
    )


def _styles(boards: Sequence[Board], ablation: Ablation) -> dict[str, Style]:
    methods = {label: standing.method for board in boards for label, standing in _of(board, ablation).items()}
    shades = told_apart({label: methods[label] for label in ablation.optimizers if label in methods})
    return {label: Style(label, shade) for label, shade in shades.items()}
