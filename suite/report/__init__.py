"""Leaderboards and figures from a store."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tabulate import tabulate

from suite.errors import SuiteError
from suite.report import tables
from suite.report.document import pictures
from suite.report.export import write_csv, write_json
from suite.report.leaderboard import findings
from suite.report.markdown import render
from suite.report.page import page

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from suite.report.document import Block
    from suite.report.leaderboard import Findings
    from suite.spec import Spec
    from suite.stage import Stage
    from suite.store import Store


def write_report(
    store: Store,
    spec: Spec,
    stage: Stage,
    folder: Path,
    *,
    command: str,
    formats: Sequence[str],
    fingerprint: str | None,
) -> list[Path]:
    """Write the report of a spec's cells into `folder`; the files that were written.

    Args:
        store: where the measurements are.
        spec: the specification that the cells stem from.
        stage: the cells that it covers and how their settings were chosen; those without a result are named as gaps.
        folder: created where it is missing.
        command: what the reader types to measure this again.
        formats: of `md` (README.md with PNG figures), `html` (report.html, one file), `csv` and `json`.
        fingerprint: of the sources of kfsvd that results must stem from; None for any.

    Raises:
        SuiteError: the folder cannot be written.

    """
    found = findings(store, spec, stage, fingerprint)
    written: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        figures: dict[tuple[str, str], Path] = {}
        if "md" in formats:
            figures = _figures(found, folder)
            readme = folder / "README.md"
            readme.write_text(render(page(found, command), figures))
            written += [readme, *figures.values()]
        if "html" in formats:
            path = folder / "report.html"
            path.write_text(_html(found, page(found, command), figures), encoding="utf-8")
            written.append(path)
        if "csv" in formats:
            written += write_csv(found, folder)
        if "json" in formats:
            written += write_json(found, folder)
    except OSError as error:
        raise SuiteError(f"the report cannot be written into {folder}: {error.strerror or error}") from None
    return written


def _figures(found: Findings, folder: Path) -> dict[tuple[str, str], Path]:
    """The pictures of a page, drawn into `folder`: (data set, name) → file."""
    from suite.report.figures import draw_board, draw_tuning, draw_whole

    files = {(board.dataset, name): file for board in found.boards for name, file in draw_board(board, folder).items()}
    files |= {(dataset, "tuning"): file for dataset, file in draw_tuning(found, folder).items()}
    return files | {("", name): file for name, file in draw_whole(found, folder).items()}


def _html(found: Findings, blocks: Sequence[Block], drawn: Mapping[tuple[str, str], Path]) -> str:
    """The page in one file: pictures that are no chart are drawn, if they are not `drawn` yet, and embedded."""
    from suite.report.charts import charts
    from suite.report.html import render

    interactive = charts(found)
    wanted = {(picture.dataset, picture.name) for picture in pictures(blocks)} - interactive.keys()
    with tempfile.TemporaryDirectory() as scratch:
        files = drawn if drawn or not wanted else _figures(found, Path(scratch))
        embedded = {key: files[key].read_bytes() for key in sorted(wanted & files.keys())}
    methods = {standing.optimizer: standing.method for board in found.boards for standing in board.standings}
    return render(blocks, interactive, embedded, methods)


def terminal_leaderboard(store: Store, spec: Spec, stage: Stage, fingerprint: str | None) -> str:
    """The leaderboards of a spec's cells as plain text."""
    parts = []
    for board in findings(store, spec, stage, fingerprint).boards:
        ranking, cost = tables.ranking(board), tables.cost(board)
        costs = {row[0]: row[1:] for row in cost.rows}
        where = ranking.headings.index("optimizer")
        rows = [[*row, *costs[row[where]]] for row in ranking.rows]
        table = tabulate(
            rows, headers=[*ranking.headings, *cost.headings[1:]], tablefmt="simple", disable_numparse=True
        )
        parts.append(f"{board.dataset} ({board.problem}), nats per example\n{table}")
    return "\n\n".join(parts)
