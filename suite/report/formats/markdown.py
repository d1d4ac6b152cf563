"""A report as one markdown page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tabulate import tabulate

from suite.report.formats.document import Code, Folded, Heading, Listing, Paragraph, Picture, Table
from suite.report.formats.numbers import markdown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from suite.report.formats.document import Block


def render(blocks: Iterable[Block], figures: Mapping[tuple[str, str], Path]) -> str:
    """The page; `figures`: (data set, name) → file beside the page; a picture that is not there is left out."""
    parts = [_block(block, figures) for block in blocks]
    return "\n\n".join(part for part in parts if part) + "\n"


def _block(block: Block, figures: Mapping[tuple[str, str], Path]) -> str:
    match block:
        case Heading():
            return f"{'#' * block.level} {markdown(block.text)}"
        case Paragraph():
            text = markdown(block.text)
            return f"**{text}**" if block.strong and text else text
        case Listing():
            return "\n".join(f"* {markdown(item)}" for item in block.items)
        case Code():
            return f"```\n{block.text}\n```"
        case Table():
            return _table(block)
        case Picture():
            file = figures.get((block.dataset, block.name))
            return "" if file is None else f"![{markdown(block.text)}]({file.name})"
        case Folded():
            inside = "\n\n".join(_block(inner, figures) for inner in block.blocks)
            return f"<details><summary>{markdown(block.summary)}</summary>\n\n{inside}\n\n</details>"


def _table(block: Table) -> str:
    rows = [[markdown(text) for text in row] for row in block.table.rows]
    if block.lead and rows:
        rows[0] = [f"**{text}**" if text else text for text in rows[0]]
    headings = [markdown(text) for text in block.table.headings]  # optimizers' labels are among them
    return tabulate(rows, headers=headings, tablefmt="pipe", colalign=block.alignment, disable_numparse=True)
