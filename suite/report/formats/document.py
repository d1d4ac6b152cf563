"""A report as plain data: headings, paragraphs, tables, pictures. Every format is a rendering of the same blocks.

All text here is plain: what it holds of markdown, HTML or TeX is escaped by whoever renders it. So the numbers of one
format are those of another, to the digit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from suite.report.formats.tables import TextTable


@dataclass(frozen=True)
class Heading:
    """A heading of some level, 1 for the page's own."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of plain text."""

    text: str
    strong: bool = False  # a warning that must not be overlooked


@dataclass(frozen=True)
class Listing:
    """Items of plain text, one beneath the other."""

    items: Sequence[str]


@dataclass(frozen=True)
class Code:
    """Text to be typed, as it is."""

    text: str


@dataclass(frozen=True)
class Table:
    """A table; a heading of "", "optimizer" or "layer" stands over names, every other over numbers."""

    table: TextTable
    lead: bool = False  # whether the first row is set apart as the leader
    names: tuple[str, ...] = ("", "optimizer", "layer")

    @property
    def alignment(self) -> list[str]:
        """Of each column, "left" or "right"."""
        return ["left" if heading in self.names else "right" for heading in self.table.headings]


@dataclass(frozen=True)
class Picture:
    """A figure by the name that it is drawn under."""

    dataset: str  # "" for one of the whole report
    name: str
    text: str  # what it shows, in words


@dataclass(frozen=True)
class Folded:
    """Blocks that are shown on request."""

    summary: str
    blocks: Sequence[Block]


Block = Heading | Paragraph | Listing | Code | Table | Picture | Folded


def pictures(blocks: Iterable[Block]) -> Iterator[Picture]:
    """The pictures of a page, folded ones included."""
    for block in blocks:
        if isinstance(block, Picture):
            yield block
        elif isinstance(block, Folded):
            yield from pictures(block.blocks)
