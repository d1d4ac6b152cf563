"""The statistical part of a report, block by block: what to take care of, times to targets, differences, the whole."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from suite.report import tables
from suite.report.document import Folded, Heading, Paragraph, Picture, Table
from suite.report.flags import flags
from suite.report.numbers import number
from suite.report.statistics import against_baselines, overall, speedups
from suite.report.targets import CLOCKS, horizons

if TYPE_CHECKING:
    from collections.abc import Sequence

    from suite.report.document import Block
    from suite.report.leaderboard import Board, Findings
    from suite.report.statistics import Faster, Versus
    from suite.report.targets import Resolved

_NAMES = ("", "optimizer", "against")


def care(findings: Findings, board: Board) -> list[Block]:
    """What to know before reading a board; nothing where there is nothing."""
    found = flags(findings, board)
    return [Paragraph(f"Read this with care. {' '.join(found)}")] if found else []


def differences(board: Board) -> list[Block]:
    """Each optimizer against the baselines at equal seeds."""
    found = against_baselines(board)
    if not found:
        return []
    text = (
        "Optimizer − baseline, final training loss in nats per example at equal seeds, where both start from the same "
        "weights and see the same batches: the mean with its 95 % paired t interval, and the probability that the "
        "optimizer ends lower, a tie counting half, with its exact 95 % interval. One pair has no interval, and "
        "intervals are not corrected for the number of comparisons."
    )
    return [
        Folded(
            f"Differences from {_baselines(found)} at equal seeds",
            [Table(tables.differences(found), names=_NAMES), Paragraph(text)],
        )
    ]


def times_to_targets(board: Board) -> list[Block]:
    """A table for each target, and the speed-ups."""
    blocks: list[Block] = []
    for place, target in enumerate(board.targets):
        blocks += _unresolved(target) if math.isnan(target.value) else _target(board, place, target)
    if any(not math.isnan(target.value) for target in board.targets):
        blocks.append(
            Paragraph(
                "A target is reached at the first evaluation at or below it: the mean loss of the evaluation examples, "
                "never a batch's. Medians are over seeds, and a miss stays a miss. The mean is that of the curve of "
                "Kaplan and Meier: a miss counts for as long as it was looked for, a run that diverged for ever, and "
                "all means of a column are restricted to the time up to which the curves of all optimizers are known."
            )
        )
    return blocks


def _unresolved(target: Resolved) -> list[Block]:
    return [Paragraph(f"The target “{target.definition}” has no number: {target.why}.")]


def _target(board: Board, place: int, target: Resolved) -> list[Block]:
    limits = horizons(board.standings, target.value)
    restricted = ", ".join(
        f"{number(limit) if clock != 'iteration' else f'{limit:,.0f}'} {CLOCKS[clock]}"
        for clock, limit in limits.items()
        if math.isfinite(limit)
    )
    derived = "" if target.definition == target.name else f"The target is {target.definition} = {target.name}. "
    text = f"{derived}Means are restricted to {restricted}." if restricted else derived.strip()
    blocks: list[Block] = [
        Heading(f"Time to {target.name} nats", 3),
        Table(tables.targets(board, place)),
        Paragraph(text),
    ]
    found = speedups(board, target.value)
    if found:
        explained = (
            "Time of the baseline over time of the optimizer, geometric mean over equal seeds with its 95 % interval "
            "(paired t of the logarithms): above 1, the optimizer is the sooner. A pair of which one misses gives a "
            "bound, the ratio to the time for which that one was looked at, so the mean is a bound (≥, ≤) without an "
            "interval; bounds of both directions leave it unknown (—). Pairs: seeds of which at least one reaches the "
            "target, of those that both have."
        )
        table = Table(tables.speedups(found), names=_NAMES)
        blocks.append(
            Folded(f"Speed-ups to {target.name} nats over {_baselines(found)}", [table, Paragraph(explained)])
        )
    return [block for block in blocks if block != Paragraph("")]


def whole(findings: Findings) -> list[Block]:
    """The ranking over all data sets, and performance profiles."""
    ranked, chart = overall(findings.boards), findings.profile
    blocks: list[Block] = [Heading("Over all data sets")] if ranked or chart else []
    if ranked:
        few = len(findings.boards)
        blocks += [
            Table(tables.overall(ranked)),
            Paragraph(
                f"Mean rank over {few} data sets of the final training loss within a seed, among the optimizers that "
                "are measured on all of them, over the seeds that all have (a run that diverged is last); and the "
                f"probability to end lower than {_either([other for row in ranked for other in row.beats])} at an "
                "equal seed. The 95 % intervals are for data sets that were not measured: Student's over data sets for "
                f"the rank, where they differ at all, and the exact one with data sets as trials. {few} data sets say "
                "little of others, however many seeds there are; that is why the intervals are wide."
            ),
        ]
    if chart:
        problems = chart.by_clock["iteration"].problems
        banded = not math.isnan(float(chart.by_clock["iteration"].low[0, 0]))
        band = (
            "The bands hold at each factor by themselves: the middle 95 % of a bootstrap that draws data sets, then "
            "seeds. With few of either they are too narrow (of three seeds on one data set, 75 % is covered)."
            if banded
            else "A single seed on a single data set has no band."
        )
        blocks += [
            Picture("", "profile", "Performance profiles: share of problems solved within a factor of the fastest"),
            Paragraph(
                f"Performance profiles (Dolan & Moré 2002) over {problems} problems, each a target on a data set from "
                "a seed: the share that an optimizer reaches within a factor of the fastest one's time. At factor 1 it "
                f"is how often an optimizer is the fastest; a miss is never solved. {band}"
            ),
        ]
    return blocks


def _baselines(found: Sequence[Versus | Faster]) -> str:
    return _either([row.baseline for row in found])


def _either(names: list[str]) -> str:
    """Baselines in a row, each once."""
    *others, last = dict.fromkeys(names)
    return f"{', '.join(others)} and {last}" if others else last
