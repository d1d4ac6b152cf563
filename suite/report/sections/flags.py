"""What a reader of a leaderboard should know before trusting it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from suite.report.sections.tuning import tuning_flags
from suite.report.statistics import final_losses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from suite.report.model import Board, Findings

FEW_SEEDS = 3
"""Below which a board is flagged."""


def flags(findings: Findings, board: Board) -> list[str]:
    """A sentence for each thing to take care of on a board; of what has none, nothing."""
    return [text for rule in RULES for text in rule(findings, board)]


def _few_seeds(_: Findings, board: Board) -> Iterator[str]:
    counts = {s.optimizer: len(final_losses(s)) for s in board.standings if s.results}
    few = {label: count for label, count in counts.items() if count < FEW_SEEDS}
    if few and set(few.values()) == {1} and len(few) == len(counts):
        yield "One seed of each optimizer is too few for an interval: no difference is shown, and all share a rank."
    elif few:
        yield f"Fewer than {FEW_SEEDS} seeds: {', '.join(f'{label} ({count})' for label, count in few.items())}."


def _diverged(_: Findings, board: Board) -> Iterator[str]:
    found = [f"{s.optimizer} ({s.diverged} of {len(s.results)})" for s in board.standings if s.diverged]
    if found:
        yield f"Seeds diverged: {', '.join(found)}."


def _gaps(_: Findings, board: Board) -> Iterator[str]:
    found = [f"{s.optimizer} ({s.cells - len(s.results)})" for s in board.standings if len(s.results) < s.cells]
    if found:
        yield f"Cells without a result: {', '.join(found)}."


def _contended(_: Findings, board: Board) -> Iterator[str]:
    runs = [result.run for standing in board.standings for result in standing.results]
    beside = sum(run.contended for run in runs)
    if beside:
        yield f"{beside} of {len(runs)} runs shared the machine with others: seconds are longer than on a free one."


def _provenance(_: Findings, board: Board) -> Iterator[str]:
    runs = [result.run for standing in board.standings for result in standing.results]
    for what, count in (
        ("environments", len({run.environment_id for run in runs})),
        ("versions of kfsvd's sources", len({run.fingerprint for run in runs})),
    ):
        if count > 1:
            yield f"Runs come from {count} {what}: compare with care."


def _tuning(findings: Findings, board: Board) -> Iterator[str]:
    yield from tuning_flags(findings.spec, findings.studies, board.dataset)


RULES: tuple[Callable[[Findings, Board], Iterator[str]], ...] = (
    _tuning,
    _few_seeds,
    _diverged,
    _gaps,
    _contended,
    _provenance,
)
"""What is looked for, in the order in which it is said."""
