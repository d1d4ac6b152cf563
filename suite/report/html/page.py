"""The blocks of a report as an HTML page, with its style and its script inside."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

from suite.report.figures.palette import DARK_PAGE, colour, in_the_dark
from suite.report.formats.document import Code, Folded, Heading, Listing, Paragraph, Picture, Table
from suite.report.html.figure import chart_figure, picture_figure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from suite.report.figures.chart import Chart
    from suite.report.formats.document import Block

# Charts are drawn by some 300 lines of our own rather than by a library of canvas charts: SVG has text that is read
# aloud and printed sharply, takes its colours from the page's scheme without being drawn again, and needs no licence.
_SCRIPTS = ("draw.js", "charts.js")


class _Entry(NamedTuple):
    """A line of the table of contents."""

    level: int
    anchor: str
    text: str


@dataclass
class _Writer:
    """What has been written so far."""

    charts: Mapping[tuple[str, str], Chart]
    pictures: Mapping[tuple[str, str], bytes]
    methods: Mapping[str, str]
    title: str = "Report"
    head: list[str] = field(default_factory=list)
    sections: list[list[str]] = field(default_factory=list)
    contents: list[_Entry] = field(default_factory=list)
    anchors: set[str] = field(default_factory=lambda: {"report", "theme"})  # the page's own are taken

    def add(self, block: Block) -> None:
        """Write a block where it belongs: into the head of the page, or into the section that is open."""
        if isinstance(block, Heading) and block.level == 1:
            self.title = block.text
            return
        if isinstance(block, Heading):
            entry = _Entry(block.level, self.anchor(block.text), block.text)
            self.contents.append(entry)
            if block.level == 2 or not self.sections:
                self.sections.append([])
        text = self.html(block)
        (self.sections[-1] if self.sections else self.head).append(text)

    def html(self, block: Block) -> str:
        """A block as HTML; all text escaped."""
        match block:
            case Heading():
                return f'<h{block.level} id="{self.contents[-1].anchor}">{escape(block.text)}</h{block.level}>'
            case Paragraph():
                kind = ' class="warning"' if block.strong else ""
                return f"<p{kind}>{escape(block.text)}</p>" if block.text else ""
            case Listing():
                return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in block.items)}</ul>"
            case Code():
                return f'<pre tabindex="0"><code>{escape(block.text)}</code></pre>'
            case Table():
                return _table(block, self._caption(block), self.methods)
            case Picture():
                return self._picture(block)
            case Folded():
                inside = "\n".join(self.html(inner) for inner in block.blocks)
                return f"<details><summary>{escape(block.summary)}</summary>\n{inside}\n</details>"

    def anchor(self, text: str) -> str:
        """A name that no other place of the page has, of letters and digits alone."""
        plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "part"
        name, number = plain, 1
        while name in self.anchors:
            number += 1
            name = f"{plain}-{number}"
        self.anchors.add(name)
        return name

    def _picture(self, picture: Picture) -> str:
        key = (picture.dataset, picture.name)
        if key in self.charts:
            return chart_figure(picture, self.charts[key], self.anchor(f"figure-{picture.dataset}-{picture.name}"))
        return picture_figure(picture, self.pictures[key]) if key in self.pictures else ""

    def _caption(self, table: Table) -> str:
        """The headings above it and of its columns: for those who hear a table without seeing what surrounds it."""
        levels: dict[int, str] = {}
        for entry in self.contents:
            levels = {level: text for level, text in levels.items() if level < entry.level} | {entry.level: entry.text}
        columns = ", ".join(heading for heading in table.table.headings if heading)
        return ": ".join([*levels.values(), *([columns] if columns else [])])


def render(
    blocks: Iterable[Block],
    charts: Mapping[tuple[str, str], Chart],
    pictures: Mapping[tuple[str, str], bytes],
    methods: Mapping[str, str],
) -> str:
    """The page.

    Args:
        blocks: what it says.
        charts: (data set, name) → what is drawn for a picture.
        pictures: (data set, name) → PNG of those that have no chart; a picture that has neither is left out.
        methods: optimizer → method, whose colour marks the optimizer in tables.

    """
    writer = _Writer(charts, pictures, methods)
    for block in blocks:
        writer.add(block)
    script = "\n".join(_asset(name) for name in _SCRIPTS)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    # This one script may run, and nothing may be fetched: whatever foreign text holds.
    policy = f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:"
    title = escape(writer.title)
    sections = "\n".join("<section>\n" + "\n".join(filter(None, part)) + "\n</section>" for part in writer.sections)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
{_asset("page.css").replace("DARK_PAGE", DARK_PAGE)}</style>
</head>
<body>
<a class="skip" href="#report">Skip to the report</a>
<button type="button" id="theme" hidden></button>
<nav aria-label="Contents">
{_contents(writer.contents)}
</nav>
<main id="report" tabindex="-1">
<header>
<h1>{title}</h1>
{chr(10).join(filter(None, writer.head))}
</header>
<noscript><p class="warning">The charts of this page are drawn by a script, which does not run here.
Every table is complete without it.</p></noscript>
{sections}
</main>
<script>{script}</script>
</body>
</html>
"""


def _contents(entries: Sequence[_Entry]) -> str:
    """Links to every heading, the deeper ones within those above them."""
    parts, depth = [], 1
    for entry in entries:
        link = f'<li><a href="#{entry.anchor}">{escape(entry.text)}</a>'
        if entry.level > depth:
            parts += ["<ol>" * (entry.level - depth), link]
        else:
            parts += ["</li></ol>" * (depth - entry.level), "</li>", link]
        depth = entry.level
    return "".join([*parts, "</li></ol>" * (depth - 1)])


def _table(block: Table, caption: str, methods: Mapping[str, str]) -> str:
    """A table in a box of its own, which scrolls where the screen is narrow."""
    headings = block.table.headings
    named = next((i for i, heading in enumerate(headings) if heading and heading in block.names), 0)
    kinds = [f' class="{"name" if side == "left" else "number"}"' for side in block.alignment]
    head = "".join(
        f'<th scope="col"{kind}>{escape(text)}</th>' if text else "<td></td>"
        for text, kind in zip(headings, kinds, strict=True)
    )
    rows = []
    for place, row in enumerate(block.table.rows):
        cells = "".join(
            f'<th scope="row"{kind}>{_swatch(text, headings[i], methods)}{escape(text)}</th>'
            if i == named
            else f"<td{kind}>{escape(text)}</td>"
            for i, (text, kind) in enumerate(zip(row, kinds, strict=True))
        )
        lead = ' class="lead"' if block.lead and place == 0 else ""
        rows.append(f"<tr{lead}>{cells}</tr>")
    thead = f"<thead><tr>{head}</tr></thead>\n" if any(headings) else ""
    label = escape(caption)
    return (
        f'<div class="table" role="region" aria-label="{label}" tabindex="0"><table>\n'
        f"<caption>{label}</caption>\n{thead}<tbody>\n{chr(10).join(rows)}\n</tbody>\n</table></div>"
    )


def _swatch(text: str, heading: str, methods: Mapping[str, str]) -> str:
    """A mark in the colour of the optimizer's method."""
    if heading != "optimizer" or text not in methods:
        return ""
    shade = colour(methods[text])
    return f'<span class="swatch" style="--light:{shade};--dark:{in_the_dark(shade)}"></span>'


def _asset(name: str) -> str:
    return files("suite.report.html").joinpath(name).read_text(encoding="utf-8")
