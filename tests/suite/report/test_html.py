"""The HTML report as text: it says what the markdown says, fetches nothing, and runs nothing of what it quotes."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from suite.records import Records
from suite.report import write_report
from suite.report.collect import findings
from suite.report.figures.charts import charts
from suite.report.figures.palette import DARK_PAGE, contrast
from suite.report.formats.document import Code, Folded, Heading, Paragraph, Picture, Table
from suite.report.formats.tables import TextTable
from suite.report.html import render
from suite.report.html.figure import as_json
from suite.report.sections.page import page
from suite.store import open_store
from tests.suite.helpers import SMALL, says
from tests.suite.stores import evaluations, finished, fisher, iterations, kept, matrix_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from suite.plan.plan import Matrix
    from suite.report.formats.document import Block
    from suite.report.model import Findings
    from suite.store import Store

EVIL = "<script>alert(1)</script></script><!-- \" ' & <b>bold</b> <img src=x onerror=alert(2)>"
SPEC = SMALL.replace("description: A small matrix for tests.", f"description: {json.dumps(EVIL)}")


class Page(HTMLParser):
    """Tables, ids, references, scripts and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.captions: list[str] = []
        self.scopes: list[str | None] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.shown: list[str] = []
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)
        match tag:
            case "table":
                self.tables.append([])
            case "tr":
                self.tables[-1].append([])
            case "td" | "th":
                self.tables[-1][-1].append("")
                self.scopes += [dict(attrs).get("scope")] if tag == "th" else []
            case "caption":
                self.captions.append("")
            case "script":
                self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        inside = self._open[-1] if self._open else ""
        if inside == "script":
            self.scripts[-1] += data
        elif inside != "style":
            self.shown.append(data)
        if inside in ("td", "th"):
            self.tables[-1][-1][-1] += data
        if inside == "caption":
            self.captions[-1] += data


def tables_of(blocks: Iterable[Block]) -> Iterator[Table]:
    for block in blocks:
        if isinstance(block, Table):
            yield block
        elif isinstance(block, Folded):
            yield from tables_of(block.blocks)


def markdown_tables(text: str) -> list[list[list[str]]]:
    parts = re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    rows = [[re.split(r"(?<!\\)\|", line.strip().strip("|")) for line in part.splitlines()] for part in parts]
    plain = [[[re.sub(r"\\(.)", r"\1", c.replace("**", "")).strip() for c in row] for row in table] for table in rows]
    return [[table[0], *table[2:]] for table in plain]


@pytest.fixture
def matrix(tmp_path: Path) -> Matrix:
    return matrix_of(tmp_path, SPEC)


@pytest.fixture
def store(tmp_path: Path, matrix: Matrix) -> Iterator[Store]:
    """KFAC with Fisher errors and ranks, SGD diverged on seed 1, KPSVD failed; every foreign text is hostile."""
    with open_store(f"sqlite:///{tmp_path}/store.sqlite") as store:
        for cell in matrix.cells:
            if cell.optimizer == "kpsvd":
                run = finished(store, cell, Records(iterations(3), [], []), "error")
                store._update(run, error=f"Traceback …\nValueError: {EVIL}")
            elif (cell.optimizer, cell.seed) == ("sgd", 1):
                finished(store, cell, Records(iterations(7), evaluations([40.0]), []), "diverged")
            else:
                rows = [fisher(EVIL, i, 0.2, 0.4, 0.1, 0.3) for i in (30, 60)] if cell.optimizer == "kfac" else []
                ranks = [kept(EVIL, i, 10 + cell.seed, 4) for i in (30, 60)] if cell.optimizer == "kfac" else []
                losses = evaluations([40.0, 30.0, 22.0, 15.0 + cell.seed])
                run = finished(store, cell, Records(iterations(60), losses, rows, ranks))
                store._update(run, problem=EVIL[:64])
        yield store


@pytest.fixture
def found(store: Store, matrix: Matrix) -> Findings:
    return findings(store, matrix.spec, matrix.stage(None), None)


def written(store: Store, matrix: Matrix, folder: Path, *formats: str) -> str:
    write_report(store, matrix.spec, matrix.stage(None), folder, command="run <it>", formats=formats, fingerprint=None)
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture
def text(store: Store, matrix: Matrix, tmp_path: Path) -> str:
    return written(store, matrix, tmp_path / "out", "html")


def test_every_table_is_that_of_the_blocks_and_of_the_markdown_page(
    store: Store, matrix: Matrix, found: Findings, tmp_path: Path
) -> None:
    html = Page(written(store, matrix, tmp_path / "out", "md", "html")).tables
    blocks = [block.table for block in tables_of(page(found, "run <it>"))]
    assert len(html) == len(blocks) >= 8
    for shown, expected in zip(html, blocks, strict=True):
        assert shown == [*([expected.headings] if any(expected.headings) else []), *expected.rows]
    for shown, beside in zip(html, markdown_tables((tmp_path / "out" / "README.md").read_text()), strict=True):
        squeezed = [[" ".join(cell.split()) for cell in row] for row in shown]
        assert squeezed == (beside if any(beside[0]) else beside[1:])


def test_the_page_fetches_nothing(text: str) -> None:
    parsed = Page(text)
    for tag, attributes in parsed.tags:
        for name in ("src", "href", "srcset", "data", "action", "poster", "xlink:href"):
            if (target := attributes.get(name)) is not None:
                assert target.startswith("#") or (tag == "img" and target.startswith("data:")), (tag, target)
    assert not re.search(r"https?:|@import|url\((?!#)|//[a-z]+\.[a-z]", re.sub(r"(?m)^ *//.*$", "", text))
    assert not {"link", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in parsed.tags}


def test_only_the_pages_own_script_may_run(text: str) -> None:
    parsed = Page(text)
    policies = [a["content"] for tag, a in parsed.tags if tag == "meta" and "http-equiv" in a]
    kinds = [a.get("type") for tag, a in parsed.tags if tag == "script"]
    (script,) = (s for s, kind in zip(parsed.scripts, kinds, strict=True) if kind is None)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policies == [f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:"]
    assert set(kinds) == {None, "application/json"}


def test_foreign_text_is_text(text: str) -> None:
    parsed = Page(text)
    shown = " ".join("".join(parsed.shown).split())
    assert shown.count(EVIL) >= 4, "the description, the error, the layers' tables"
    assert EVIL[:64] in shown
    assert not {"b", "img"} & {tag for tag, _ in parsed.tags}
    assert "<!--" not in text
    assert not any("onerror" in attributes for _, attributes in parsed.tags)
    for script, (_, attributes) in zip(parsed.scripts, (t for t in parsed.tags if t[0] == "script"), strict=True):
        if attributes.get("type") == "application/json":
            data = json.loads(script)
            by_layer = data["kind"] == "lines" and data["choices"][0]["name"] == "layer"
            assert not by_layer or EVIL in data["choices"][0]["options"]


def test_json_ends_no_script_and_comes_back_as_it_was() -> None:
    data = {"text": EVIL + "]]> \u2028", "number": 0.1}
    assert not re.search("[<>&]", as_json(data))
    assert json.loads(as_json(data)) == data
    with pytest.raises(ValueError, match="not JSON compliant"):
        as_json([float("nan")])


def test_every_heading_is_in_the_contents_and_every_link_leads_to_one_place(text: str, found: Findings) -> None:
    parsed = Page(text)
    ids = [a["id"] for _, a in parsed.tags if "id" in a]
    assert len(ids) == len(set(ids))
    links = [a["href"] for tag, a in parsed.tags if tag == "a"]
    assert {f"#{name}" for name in ids} >= set(links)
    headings = [block for block in page(found, "c") if isinstance(block, Heading) and block.level > 1]
    assert len(links) == 1 + len(headings)
    assert links[1] == "#digits", "the leaderboard first"
    nested = re.search(r"<nav.*?</nav>", text, re.DOTALL)
    assert nested is not None
    assert nested[0].count("<ol>") == nested[0].count("</ol>") == 2
    assert nested[0].count("<li>") == nested[0].count("</li>") == len(headings)


def test_tables_have_captions_and_headers_with_scope(text: str, found: Findings) -> None:
    parsed = Page(text)
    assert len(parsed.captions) == len(parsed.tables)
    assert all(parsed.captions)
    assert len(set(parsed.captions)) > len(parsed.captions) / 2
    assert set(parsed.scopes) == {"col", "row"}
    assert parsed.scopes.count("row") == sum(len(block.table.rows) for block in tables_of(page(found, "c")))


def test_every_chart_has_words_and_its_own_data(text: str, found: Findings) -> None:
    parsed = Page(text)
    drawn = charts(found)
    assert [name for _, name in drawn] == ["loss", "time", "fisher", "ranks", "profile"]
    svgs = [a for tag, a in parsed.tags if tag == "svg"]
    assert len(svgs) == len(drawn)
    ids = {a.get("id") for _, a in parsed.tags}
    for attributes in svgs:
        assert attributes["role"] == "img"
        assert set(str(attributes["aria-labelledby"]).split()) <= ids
    assert says("".join(parsed.shown), "adam from 30.0 to 5.50", "kfac from 30.0 to 5.50", "sgd from 30.0 to 5.00")
    loss: dict[str, Any] = json.loads(parsed.scripts[0])
    (line,) = (t for t in loss["traces"] if (t["kind"], t["label"], t["at"]) == ("line", "kfac", [0, 0]))
    assert (line["x"], line["y"]) == ([0, 20, 40, 60], [30, 20, 12, 5.5])
    assert (line["low"][-1], line["high"][-1], line["seeds"]) == (5, 6, 2)
    (cross,) = (t for t in loss["traces"] if (t["kind"], t["at"]) == ("diverged", [1, 0]))
    assert cross["end"][0] == pytest.approx(0.07)


def test_what_bins_of_a_single_seed_span_is_kept(tmp_path: Path) -> None:
    matrix = matrix_of(tmp_path)
    losses = [30.0] * 1000
    losses[431] = 90.0
    with open_store(f"sqlite:///{tmp_path}/single.sqlite") as store:
        finished(store, matrix.cells[0], Records(iterations(9), evaluations(losses), []))
        loss = json.loads(Page(written(store, matrix, tmp_path / "out", "html")).scripts[0])
    assert {max(trace["high"]) for trace in loss["traces"]} == {80, 80.5}


def test_the_same_store_gives_the_same_bytes(store: Store, matrix: Matrix, tmp_path: Path) -> None:
    one = written(store, matrix, tmp_path / "one", "html")
    assert written(store, matrix, tmp_path / "two", "html") == one
    assert written(store, matrix, tmp_path / "three", "md", "html", "json") == one
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["report.html"]


def test_a_picture_without_a_chart_is_embedded_and_one_without_a_file_left_out() -> None:
    blocks = [
        Heading("a title", 1),
        Heading("…"),
        Picture("d", "profile", 'a "profile"'),
        Picture("d", "none", "a picture of nothing"),
        Folded("more", [Picture("d", "profile", "again"), Code("x < y"), Paragraph("beware", strong=True)]),
        Table(TextTable(["", "optimizer", "loss"], [["1", "kfac", "2.0"], ["2", "other", "3.0"]]), lead=True),
    ]
    text = render(blocks, {}, {("d", "profile"): b"\x89PNG"}, {"kfac": "kfac"})
    image = 'src="data:image/png;base64,' + base64.b64encode(b"\x89PNG").decode() + '"'
    assert text.count(image) == 2
    assert '<img alt="a &quot;profile&quot;"' in text
    assert "a picture of nothing" not in text
    assert "<code>x &lt; y</code>" in text
    assert '<p class="warning">beware</p>' in text
    assert '<h2 id="part">…</h2>' in text
    assert text.count('class="swatch"') == 1
    assert text.count('<tr class="lead">') == 1


def test_pictures_that_no_chart_stands_for_are_drawn_for_the_page(
    store: Store, matrix: Matrix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("suite.report.figures.charts.charts", lambda found: {})
    text = written(store, matrix, tmp_path / "out", "html")
    assert text.count("data:image/png;base64,iVBOR") == 5
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["report.html"]


def test_whatever_the_page_is_made_of_is_installed_with_the_package() -> None:
    root = Path(__file__).parents[3]
    globs = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["suite"]
    declared = {path for pattern in globs for path in (root / "suite").glob(pattern)}
    assert {path for path in (root / "suite/report/html").iterdir() if path.suffix in (".css", ".js")} <= declared
    assert set((root / "suite/published").glob("*.yaml")) <= declared
    assert len(declared) == 5


@pytest.mark.parametrize("scheme", [0, 1])
def test_text_stands_out_from_the_page_in_both_schemes(scheme: int, text: str) -> None:
    tokens = {name: pair.split(", ")[scheme] for name, pair in re.findall(r"--(\w+): light-dark\((.*?)\)", text)}
    assert tokens["page"] == ("#fdfdfc", DARK_PAGE)[scheme]
    for ink in ("text", "quiet", "accent", "warning"):
        for ground in ("page", "raised"):
            assert contrast(tokens[ink], tokens[ground]) >= 4.5, (ink, ground)
