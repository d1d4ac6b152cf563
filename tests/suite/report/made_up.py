"""Boards of made-up runs: losses in, leaderboards out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from suite.records import Records
from suite.report.collect import findings
from suite.store import open_store
from tests.suite.helpers import SMALL
from tests.suite.stores import evaluations, finished, iterations, matrix_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from suite.report.model import Board, Findings

TWO = SMALL.replace(
    "seeds:",
    """\
  wide:
    data: digits
    network: {kind: autoencoder, encoder: [32, 4], activation: tanh}
    likelihood: bernoulli
    batch_size: 64
seeds:""",
)
"""`SMALL` with a second data set."""

DIVERGED = "diverged"


def three_seeds(text: str = SMALL, targets: str = "digits: [20.0, 1.0]") -> str:
    return text.replace("seeds: [0, 1]", "seeds: [0, 1, 2]").replace("digits: [20.0, 1.0]", targets)


def findings_of(
    folder: Path, text: str, losses: Mapping[tuple[str, str], Sequence[Sequence[float] | str]], step: float = 0.01
) -> Findings:
    """The findings of a spec by (data set, optimizer) → for each seed the evaluated losses, or `DIVERGED`."""
    matrix = matrix_of(folder, text)
    with open_store(f"sqlite:///{folder}/made-up.sqlite") as store:
        for cell in matrix.cells:
            runs = losses.get((cell.dataset, cell.optimizer), ())
            if cell.seed >= len(runs):
                continue
            run = runs[cell.seed]
            if isinstance(run, str):
                finished(store, cell, Records(iterations(7), evaluations([40.0]), []), run)
            else:
                records = Records(iterations(20 * len(run) - 20 or 1, step=step), evaluations(list(run), step=step), [])
                finished(store, cell, records)
        return findings(store, matrix.spec, matrix.stage(None), None)


def board_of(folder: Path, text: str, losses: Mapping[str, Sequence[Sequence[float] | str]]) -> Board:
    """The only board of such findings."""
    return findings_of(folder, text, {("digits", label): runs for label, runs in losses.items()}).boards[0]
