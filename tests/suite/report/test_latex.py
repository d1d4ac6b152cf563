"""The LaTeX report says what the markdown one says, compiles, and lets no foreign text be TeX."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from suite.records import Records
from suite.report import write_report
from suite.report.formats import latex
from suite.report.formats.document import Code, Folded, Heading, Paragraph, Picture, Table
from suite.report.formats.tables import TextTable
from suite.store import open_store
from tests.suite.helpers import SMALL
from tests.suite.stores import evaluations, finished, fisher, iterations, matrix_of

if TYPE_CHECKING:
    from pathlib import Path

    from suite.report.formats.document import Block

pytestmark = pytest.mark.usefixtures("sketched")

HOSTILE = r"\input{/etc/passwd} 100% of $x_1$ & #2 ~ ^ {[*]} `a` <b> | \\ \end{document} ünï 中 ‖F − F̂‖ 2² -- —"
BACK = {  # what a reader of TeX sees
    r"\textbackslash{}": "\\",
    r"\textasciitilde{}": "~",
    r"\textasciicircum{}": "^",
    r"\textasciigrave{}": "`",
    r"\textless{}": "<",
    r"\textgreater{}": ">",
    r"\textbar{}": "|",
    r"\textemdash{}": "—",
    r"\ensuremath{-}": "−",
    r"\ensuremath{\pm}": "±",
    r"\ensuremath{\div}": "÷",
    r"\ensuremath{\times}": "×",
    r"\ensuremath{\|}": "‖",
    r"\ensuremath{\hat{F}}": "F\u0302",
    r"\ensuremath{\sigma}": "σ",
    r"\ensuremath{^{2}}": "²",
    "{[}": "[",
    "{]}": "]",
    "{*}": "*",
    "-{}": "-",
}


def read_tex(text: str) -> str:
    for tex, plain in BACK.items():
        text = text.replace(tex, plain)
    return re.sub(r"\\([{}#$%&_])", r"\1", re.sub(r"^\\textbf\{(.*)\}$", r"\1", text.strip())).strip()


def read_markdown(text: str) -> str:
    return re.sub(r"\\([\\`*_{}\[\]<>#|~])", r"\1", re.sub(r"^\*\*(.*)\*\*$", r"\1", text.strip())).strip()


def tex_tables(document: str) -> list[list[list[str]]]:
    found = re.findall(r"\\begin\{tabular\}\{\w+\}\n(.*?)\\end\{tabular\}", document, re.DOTALL)
    lines = [[line for line in table.splitlines() if line.endswith(r"\\")] for table in found]
    return [[[read_tex(c) for c in re.split(r"(?<!\\)&", line[:-2])] for line in table] for table in lines]


def markdown_tables(page: str) -> list[list[list[str]]]:
    found = re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE)
    tables = [
        [[read_markdown(c) for c in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table.splitlines()]
        for table in found
    ]
    return [[table[0], *table[2:]] if any(table[0]) else table[2:] for table in tables]


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """The folder of a report with every kind of table that final cells have, and a figure of each."""
    text = SMALL.replace("damping: 1.0", "damping: [1.0, 2.0]", 1)
    matrix = matrix_of(tmp_path, text)
    with open_store(f"sqlite:///{tmp_path}/store.sqlite") as store:
        for cell in matrix.cells:
            if cell.optimizer == "kpsvd" and cell.seed:
                run = finished(store, cell, Records(iterations(3), [], []), "error")
                store._update(run, error=f"Traceback …\nValueError: {HOSTILE}")
            else:
                errors = [fisher("lin&ear_1", 60, 0.2, 0.4, 0.1, 0.3), fisher("lin|ear%2", 60, 0.4, 0.6, 0.3, 0.5)]
                losses = evaluations([40.0, 19.0 + len(cell.optimizer) + 0.37 * cell.seed])
                finished(store, cell, Records(iterations(60), losses, errors if cell.optimizer != "sgd" else []))
        write_report(
            store,
            matrix.spec,
            matrix.stage(None),
            tmp_path / "out",
            command="kfsvd-bench run a_b.yaml",
            formats=["md", "latex"],
            fingerprint=None,
        )
    return tmp_path / "out"


def compiled(folder: Path) -> Path:
    """The PDF of a report."""
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "report.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    return folder / "report.pdf"


def test_every_cell_of_every_table_is_that_of_the_markdown(report: Path) -> None:
    tex, page = (report / "report.tex").read_text(), (report / "README.md").read_text()
    tables, expected = tex_tables(tex), markdown_tables(page)
    assert len(tables) == len(expected) >= 6
    for table, rows in zip(tables, expected, strict=True):
        assert [[re.sub(r"\[U\+4E2D\]", "中", cell) for cell in row] for row in table] == [
            [re.sub(r"(?<![\w-])-(?=\d)", "−", cell) for cell in row] for row in rows
        ], "a minus is one in print"
    assert any(r"\textbf{1} & \textbf{sgd}" in line for line in tex.splitlines())


def test_every_table_and_figure_has_a_caption_and_a_label_of_its_own(report: Path) -> None:
    tex = (report / "report.tex").read_text()
    floats = re.findall(r"\\begin\{(?:table|figure)\}.*?\\end\{(?:table|figure)\}", tex, re.DOTALL)
    assert len(floats) == len(tex_tables(tex)) + 4, "loss, time, Fisher error and profile"
    assert all(each.count(r"\caption{") == each.count(r"\label{") == 1 for each in floats)
    labels = re.findall(r"\\label\{([a-z0-9:-]+)\}", tex)
    assert len(labels) == len(set(labels)) == len(floats)
    assert r"\caption{digits: optimizer, training loss," in tex
    for picture in re.findall(r"\\includegraphics\[.*?\]\{(.*?)\}", tex):
        assert (report / picture).exists()


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex at hand")
def test_the_document_compiles(report: Path) -> None:
    assert compiled(report).stat().st_size > 10_000


EVERYWHERE: list[Block] = [
    Heading(HOSTILE, 1),
    Heading(HOSTILE),
    Paragraph(HOSTILE, strong=True),
    Code(HOSTILE + "\n" + HOSTILE),
    Table(TextTable(["", HOSTILE], [["[1]", HOSTILE], ["*", "-0.5 (-3)"]]), lead=True),
    Folded(
        HOSTILE,
        [
            Paragraph(HOSTILE),
            Table(TextTable(["", ""], [[HOSTILE, "αβγδεζηθικλμνξπρστυφχψω ΔΣΠΦΨΛ ±×÷·⊗≤≥≠≈∞√∇→←⁻¹ᵀ₀ µ"]])),
        ],
    ),
    Folded("headings", [Heading("inner", 3), Table(TextTable([], []))]),
    Picture("absent", "loss", HOSTILE),
]


def test_foreign_text_is_text_wherever_it_stands() -> None:
    tex = latex.render(EVERYWHERE, {})
    body = tex.partition(r"\begin{document}")[2].rpartition(r"\end{document}")[0]
    assert r"\input" not in body
    assert r"\end{document}" not in body
    assert not re.search(r"(?<!\\)[#$~%]", body.replace("{!}{%\n", "{!}{\n"))
    assert "[U+4E2D]" in read_tex(body)
    assert "ünï" in body
    assert r"\ensuremath{-}0.5 (\ensuremath{-}3)" in body, "a minus is no hyphen"
    ((first, second, third), (alone,)) = tex_tables(tex)
    assert first == ["", second[1]]
    assert [second[0], third[0]] == ["[1]", "*"]
    assert read_tex(alone[0]) == first[1]
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", body):
        depth += 1 if brace == "{" else -1
        assert depth >= 0
    assert depth == 0
    begun, ended = (re.findall(rf"\\{word}\{{(\w+)\}}", body) for word in ("begin", "end"))
    assert sorted(begun) == sorted(ended)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex at hand")
def test_foreign_text_compiles_and_so_do_more_tables_than_tex_keeps_waiting(tmp_path: Path) -> None:
    many = [Heading("many"), *[Table(TextTable(["", "a"], [["1", "2"]] * 12))] * 150]
    (tmp_path / "report.tex").write_text(latex.render([*EVERYWHERE, *many], {}))
    assert compiled(tmp_path).stat().st_size > 10_000
