"""Leaderboards and figures from a store."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tabulate import tabulate

from suite.errors import SuiteError
from suite.report.collect import findings
from suite.report.formats import latex, markdown, tables
from suite.report.formats.document import pictures
from suite.report.formats.export import write_csv, write_json, write_parquet
from suite.report.sections import compression_page, side_by_side
from suite.report.sections.page import page
from suite.report.sections.side_by_side import sides
from suite.store import frames

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from suite.plan.stage import Stage
    from suite.report.formats.document import Block
    from suite.report.model import Findings
    from suite.report.sections.side_by_side import Source
    from suite.spec.reading import Spec
    from suite.store import Store

PAGES = {"md": ("README.md", markdown.render), "latex": ("report.tex", latex.render)}
"""Pages of blocks with PNG figures beside them: the file's name, and what renders it."""


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
        formats: of `md` (README.md with PNG figures), `html` (report.html, one file), `latex` (report.tex with the
            figures of md), `csv`, `json` and `parquet`.
        fingerprint: of the sources of kfsvd that results must stem from; None for any.

    Raises:
        SuiteError: the folder cannot be written, or parquet is asked for and pandas or PyArrow is not installed.

    """
    if "parquet" in formats:
        frames.needed()
    found = findings(store, spec, stage, fingerprint)
    written: list[Path] = []
    with _writing(folder):
        figures: dict[tuple[str, str], Path] = {}
        if PAGES.keys() & formats:
            figures = _figures(found, folder)
            written += [*_pages(page(found, command), figures, folder, formats), *figures.values()]
        if "html" in formats:
            written.append(_written(folder / "report.html", _html(found, page(found, command), figures)))
        if "csv" in formats:
            written += write_csv(found, folder)
        if "json" in formats:
            written += write_json(found, folder)
        if "parquet" in formats:
            written += write_parquet(found, folder)
    return written


def write_comparison(
    spec: Spec, a: Source, b: Source, folder: Path, *, command: str, formats: Sequence[str]
) -> list[Path] | None:
    """Write two stores side by side into `folder`; the files that were written, None where nothing is in both.

    Args:
        spec: the specification that both measured.
        a: the one store.
        b: the other.
        folder: created where it is missing.
        command: what the reader types to make this again.
        formats: of `md`, `html` and `latex`.

    Raises:
        SuiteError: a format is no page, or the folder cannot be written.

    """
    for name in formats:
        if name not in (*PAGES, "html"):
            raise SuiteError(f"--compare writes pages, --format md, html or latex, not {name}")
    first, second = sides(spec, a, b)
    if not first.found.measured:
        return None
    blocks = side_by_side.page(spec, first, second, command)
    with _writing(folder):
        written = _pages(blocks, {}, folder, formats)
        if "html" in formats:
            from suite.report import html

            text = html.render(blocks, {}, {}, _methods(first.found))
            written.append(_written(folder / "report.html", text))
    return written


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """A folder to write into, and one sentence where that cannot be done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise SuiteError(f"the report cannot be written into {folder}: {error.strerror or error}") from None


def _figures(found: Findings, folder: Path) -> dict[tuple[str, str], Path]:
    """The pictures of a page, drawn into `folder`: (data set, name) → file."""
    from suite.report.figures.compression_figures import draw_compression
    from suite.report.figures.drawn import draw_charts
    from suite.report.figures.figures import draw_board, draw_tuning, draw_whole
    from suite.report.figures.further import further_charts

    files = {(board.dataset, name): file for board in found.boards for name, file in draw_board(board, folder).items()}
    files |= {(dataset, "tuning"): file for dataset, file in draw_tuning(found, folder).items()}
    files |= draw_charts(further_charts(found), folder)
    files |= draw_compression(found.compressions, folder)
    return files | {("", name): file for name, file in draw_whole(found, folder).items()}


def _html(found: Findings, blocks: Sequence[Block], drawn: Mapping[tuple[str, str], Path]) -> str:
    """The page in one file: pictures that are no chart are drawn, if they are not `drawn` yet, and embedded."""
    from suite.report.figures.charts import charts
    from suite.report.figures.compression_figures import compression_charts
    from suite.report.figures.further import further_charts
    from suite.report.html import render

    interactive = {**charts(found), **further_charts(found), **compression_charts(found.compressions)}
    wanted = {(picture.dataset, picture.name) for picture in pictures(blocks)} - interactive.keys()
    with tempfile.TemporaryDirectory() as scratch:
        files = drawn if drawn or not wanted else _figures(found, Path(scratch))
        embedded = {key: files[key].read_bytes() for key in sorted(wanted & files.keys())}
    return render(blocks, interactive, embedded, _methods(found))


def _methods(found: Findings) -> dict[str, str]:
    return {standing.optimizer: standing.method for board in found.boards for standing in board.standings}


def _pages(
    blocks: Sequence[Block], figures: Mapping[tuple[str, str], Path], folder: Path, formats: Iterable[str]
) -> list[Path]:
    """The same blocks in every format that is a page."""
    renderers = [PAGES[chosen] for chosen in formats if chosen in PAGES]
    return [_written(folder / name, render(blocks, figures)) for name, render in renderers]


def _written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def terminal_leaderboard(store: Store, spec: Spec, stage: Stage, fingerprint: str | None) -> str:
    """The leaderboards of a spec's cells as plain text."""
    parts = []
    found = findings(store, spec, stage, fingerprint, curves=False)
    for board in found.boards:
        ranking, cost = tables.ranking(board), tables.cost(board)
        costs = {row[0]: row[1:] for row in cost.rows}
        where = ranking.headings.index("optimizer")
        rows = [[*row, *costs[row[where]]] for row in ranking.rows]
        table = _plain([*ranking.headings, *cost.headings[1:]], rows)
        parts.append(f"{board.dataset} ({board.problem}), nats per example\n{table}")
    for kind in found.compressions:
        what = f"{kind.dataset}: {kind.name}, training loss by the share of the weights that is left"
        parts.append(f"{what}\n{_plain(*compression_page.summary(kind))}")
    return "\n\n".join(parts)


def _plain(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return tabulate(rows, headers=headings, tablefmt="simple", disable_numparse=True)
