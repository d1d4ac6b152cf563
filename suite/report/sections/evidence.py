"""The statistical part of a report, block by block: what to take care of, times to targets, differences, the whole."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from suite.report.formats import tables
from suite.report.formats.document import Folded, Heading, Listing, Paragraph, Picture, Table
from suite.report.formats.numbers import number
from suite.report.model import CLOCKS
from suite.report.sections.flags import flags
from suite.report.statistics import against_baselines, overall, speedups
from suite.report.targets import horizons

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from suite.report.formats.document import Block
    from suite.report.model import Board, Findings, Resolved
    from suite.report.statistics import Faster, Versus

_NAMES = ("", "optimizer", "against")
_TIMES = (
    Paragraph(
        "A target is reached at the first evaluation at or below it: the mean loss of the evaluation examples, never a "
        "batch's. Medians are over seeds, and a miss stays a miss. The mean is that of the Kaplan–Meier curve: a "
        "miss counts for as long as it was looked for, a run that diverged for ever, and all means of a column are "
        "restricted to the time up to which the curves of all optimizers are known."
    ),
    Paragraph(
        "A speed-up is the time of the baseline over that of the optimizer, geometric mean over equal seeds with the "
        "paired t interval of the logarithms: above 1, the optimizer is the sooner. A pair of which one misses gives a "
        "bound, the ratio to the time for which that one was looked at; then the mean is a bound (≥, ≤) without an "
        "interval, and with bounds of both directions it is unknown (—). Pairs are the seeds of which at least one "
        "reaches the target, of those that both have."
    ),
)


def explained(findings: Findings) -> Block:
    """How the numbers are worked out, once for the page."""
    timed = any(board.targets for board in findings.boards)
    return Folded(
        f"How intervals{', ranks and times to targets' if timed else ' and ranks'} are worked out",
        [
            Paragraph(
                "Intervals are of 95 %, each by itself: nothing is corrected for their number. That of a mean is "
                "Student's t over seeds, and there is none of a single seed. A rank is 1 + the number of optimizers "
                "shown to be better: those whose paired difference at equal seeds has an interval that excludes 0, and "
                "those better than them; within a rank, the lower mean is first."
            ),
            Paragraph(
                "Differences are optimizer − baseline, final training loss in nats per example at equal seeds, where "
                "both start from the same weights and see the same batches: the mean with its paired t interval, and "
                "the probability that the optimizer ends lower, a tie counting half, with its exact interval."
            ),
            *(_TIMES if timed else ()),
        ],
    )


def care(findings: Findings, board: Board) -> list[Block]:
    """What to know before reading a board; nothing where there is nothing."""
    found = flags(findings, board)
    if len(found) > 1:
        return [Paragraph("Read this with care:"), Listing(found)]
    return [Paragraph(f"Read this with care. {text}") for text in found]


def differences(board: Board) -> list[Block]:
    """Each optimizer against the baselines at equal seeds."""
    found = against_baselines(board)
    if not found:
        return []
    table = Table(tables.differences(found), names=_NAMES)
    return [Folded(f"Differences from {_baselines(found)} at equal seeds", [table])]


def times_to_targets(board: Board) -> list[Block]:
    """A table for each target, and the speed-ups."""
    blocks: list[Block] = []
    for place, target in enumerate(board.targets):
        blocks += _unresolved(target) if math.isnan(target.value) else _target(board, place, target)
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
    derived = [] if target.definition == target.name else [f"The target is {target.definition} = {target.name}."]
    means = [f"Means are restricted to {restricted}."] if restricted else []
    blocks: list[Block] = [Heading(f"Time to {target.name} nats", 3), Table(tables.targets(board, place))]
    if derived or means:
        blocks.append(Paragraph(" ".join(derived + means)))
    found = speedups(board, target.value)
    if any(row.speedups["iteration"].pairs for row in found):
        table = Table(tables.speedups(found), names=_NAMES)
        blocks.append(Folded(f"Speed-ups to {target.name} nats over {_baselines(found)}", [table]))
    return blocks


def whole(findings: Findings) -> list[Block]:
    """The ranking over all data sets, and performance profiles."""
    ranked, chart = overall(findings.boards), findings.profile
    blocks: list[Block] = [Heading("Over all data sets")] if ranked or chart else []
    if ranked:
        baselines = _named(other for row in ranked for other in row.beats)
        lower = f", and the probability to end lower than {baselines} at an equal seed" if baselines else ""
        blocks += [
            Table(tables.overall(ranked)),
            Paragraph(
                f"Mean rank over {len(findings.boards)} data sets of the final training loss within a seed, among the "
                "optimizers that are measured on all of them, over the seeds that all have (a run that diverged is "
                f"last){lower}. The 95 % intervals are for data sets that were not measured: Student's over data sets "
                "for the rank, where they differ at all, and the exact one with data sets as trials for probabilities. "
                "Few data sets say little of others, however many seeds there are."
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
    return _named(row.baseline for row in found)


def _named(names: Iterable[str]) -> str:
    """Names in a row, each once."""
    each = list(dict.fromkeys(names))
    return " and ".join([", ".join(each[:-1]), each[-1]] if len(each) > 1 else each)
