"""A report as one LaTeX document, whose tables paste into a paper."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from suite.report.formats.document import Code, Folded, Heading, Listing, Paragraph, Picture, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from suite.report.formats.document import Block

_HEAD = r"""% Compiles with pdflatex. A table or a figure that is pasted into a paper needs there:
%   \usepackage{booktabs}  % the rules of tables
%   \usepackage{graphicx}  % pictures, and tables shrunk to the width of the line where they are wider
%   \usepackage[utf8]{inputenc}\usepackage[T1]{fontenc}  % where names have accented letters
\documentclass{article}
\usepackage[utf8]{inputenc}
\usepackage[T1]{fontenc}
\usepackage[a4paper,margin=2cm]{geometry}
\usepackage{booktabs}
\usepackage{graphicx}
\setlength{\belowcaptionskip}{4pt}
\begin{document}
"""

_MANY, _MOST = 5, 18
"""Floats that may go on into the next section, and those that TeX keeps waiting at all."""

_SECTIONS = ("section", "subsection", "subsubsection", "paragraph")

_TEXT = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "#": r"\#",
    "$": r"\$",
    "%": r"\%",
    "&": r"\&",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "`": r"\textasciigrave{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "[": "{[}",  # after the end of a row it would begin a length, and a star forbid a page break
    "]": "{]}",
    "*": "{*}",
    "—": r"\textemdash{}",
    "–": r"\textendash{}",
    "…": r"\ldots{}",
    "‘": "`",
    "’": "'",
    "“": "``",
    "”": "''",
    "\N{NO-BREAK SPACE}": "~",
}
_GREEK = {
    chr(code): rf"\{name}"
    for code in range(0x391, 0x3CA)
    if (name := unicodedata.name(chr(code), "").removeprefix("GREEK SMALL LETTER ").lower()).isalpha()
    and name not in ("omicron", "lamda")
}
_MATHS = {
    **_GREEK,
    "λ": r"\lambda",
    "µ": r"\mu",  # the micro sign
    "ς": r"\varsigma",
    "Δ": r"\Delta",
    "Σ": r"\Sigma",
    "Π": r"\Pi",
    "Φ": r"\Phi",
    "Ψ": r"\Psi",
    "Λ": r"\Lambda",
    "−": "-",
    "±": r"\pm",
    "×": r"\times",
    "÷": r"\div",
    "·": r"\cdot",
    "⊗": r"\otimes",
    "≤": r"\leq",
    "≥": r"\geq",
    "≠": r"\neq",
    "≈": r"\approx",
    "∞": r"\infty",
    "‖": r"\|",
    "√": r"\surd",
    "∇": r"\nabla",
    "→": r"\rightarrow",
    "←": r"\leftarrow",
    "⁻": "^{-}",
    "ᵀ": r"^{\top}",
    **{digit: f"^{{{place}}}" for place, digit in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
    **{digit: f"_{{{place}}}" for place, digit in enumerate("₀₁₂₃₄₅₆₇₈₉")},
}
_ACCENTS = {"\N{COMBINING CIRCUMFLEX ACCENT}": "hat", "\N{COMBINING TILDE}": "tilde"}
_LATIN = "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝßàáâãäåæçèéêëìíîïñòóôõöøùúûüýÿŁłŚśŠšŽžČčĆćŐőŰű"


def render(blocks: Iterable[Block], figures: Mapping[tuple[str, str], Path]) -> str:
    """The document; `figures`: (data set, name) → file beside it; a picture that is not there is left out."""
    writer = _Writer(figures)
    parts = [writer.block(block) for block in blocks]
    return _HEAD + "\n\n".join(part for part in parts if part) + "\n\\end{document}\n"


def escape(text: str) -> str:
    r"""Foreign text as it is, whatever TeX it contains, on one line; what pdflatex has no letter for is \[U+…\]."""
    text = unicodedata.normalize("NFC", " ".join(text.split()))
    text = re.sub(r"(?<![^\s(\[])-(?=[\d.])", "−", text)  # a minus, not a hyphen
    pieces = re.findall(rf".[{''.join(_ACCENTS)}]?", text)
    return re.sub("-(?=-)", "-{}", "".join(map(_piece, pieces)))  # two hyphens are no dash


def _piece(piece: str) -> str:
    """A character, or a letter with an accent above it."""
    if len(piece) == 2 and piece[0].isascii() and piece[0].isalnum():
        return rf"\ensuremath{{\{_ACCENTS[piece[1]]}{{{piece[0]}}}}}"
    return "".join(map(_character, piece))


def _character(letter: str) -> str:
    if letter in _TEXT:
        return _TEXT[letter]
    if letter in _MATHS:
        return rf"\ensuremath{{{_MATHS[letter]}}}"
    if (letter.isascii() and letter.isprintable()) or letter in _LATIN:
        return letter
    return f"{{[}}U+{ord(letter):04X}{{]}}"


class _Writer:
    """Renders blocks in their order, and names each float by where it stands."""

    def __init__(self, figures: Mapping[tuple[str, str], Path]) -> None:
        self._figures = figures
        self._levels: dict[int, str] = {}  # the headings that the next block stands under
        self._labels: set[str] = set()
        self._placed = 0  # floats before the last new page

    def block(self, block: Block) -> str:
        match block:
            case Heading():
                self._enter(block.level, block.text)
                flushed = self._flushed(_MANY) if block.level <= 2 else ""
                return rf"{flushed}\{_SECTIONS[min(block.level, 4) - 1]}{{{escape(block.text)}}}"
            case Paragraph():
                text = escape(block.text)
                return rf"\textbf{{{text}}}" if block.strong and text else text
            case Listing():
                items = "\n".join(rf"\item {escape(item)}" for item in block.items)
                return f"\\begin{{itemize}}\n{items}\n\\end{{itemize}}"
            case Code():
                lines = r"\\".join(map(escape, block.text.splitlines()))
                return "\\begin{quote}\\ttfamily\\raggedright\n" + lines + "\n\\end{quote}"
            case Table():
                return self._table(block)
            case Picture():
                return self._picture(block)
            case Folded():
                around = self._levels
                self._enter(4, block.summary)
                inside = [self.block(inner) for inner in block.blocks]
                self._levels = around
                floats = all(isinstance(inner, Table | Picture) for inner in block.blocks)  # their captions name it
                return "\n\n".join(
                    [*([] if floats else [rf"\paragraph{{{escape(block.summary)}}}"]), *filter(None, inside)]
                )

    def _flushed(self, most: int) -> str:
        """A new page where so many floats may wait: those of one data set come before those of another."""
        if len(self._labels) - self._placed < most:
            return ""
        self._placed = len(self._labels)
        return "\\clearpage\n"

    def _enter(self, level: int, text: str) -> None:
        self._levels = {outer: name for outer, name in self._levels.items() if outer < level} | {level: text}

    def _table(self, block: Table) -> str:
        if not block.table.headings:
            return ""
        headings = [escape(text) for text in block.table.headings]
        rows = [[escape(text) for text in row] for row in block.table.rows]
        if block.lead and rows:
            rows[0] = [rf"\textbf{{{text}}}" if text else text for text in rows[0]]
        columns = "".join(side[0] for side in block.alignment)
        places = [text for level, text in self._levels.items() if level > 1]
        caption = ": ".join([*places, *([named] if (named := ", ".join(filter(None, block.table.headings))) else [])])
        lines = [
            self._flushed(_MOST) + r"\begin{table}[!htbp]",
            r"\centering",
            rf"\caption{{{escape(caption)}}}",
            rf"\label{{{self._label('tab', *places)}}}",
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            *([_row(headings), r"\midrule"] if named else []),
            *map(_row, rows),
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table}",
        ]
        return "\n".join(lines)

    def _picture(self, picture: Picture) -> str:
        file = self._figures.get((picture.dataset, picture.name))
        if file is None:
            return ""
        lines = [
            self._flushed(_MOST) + r"\begin{figure}[!htbp]",
            r"\centering",
            rf"\includegraphics[width=\linewidth]{{{file.name}}}",
            rf"\caption{{{escape(picture.text)}}}",
            rf"\label{{{self._label('fig', picture.dataset, picture.name)}}}",
            r"\end{figure}",
        ]
        return "\n".join(lines)

    def _label(self, kind: str, *names: str) -> str:
        """A name to refer to it by, of letters and digits alone, that no other float has."""
        plain = f"{kind}:" + (re.sub(r"[^a-z0-9]+", "-", " ".join(names).lower()).strip("-") or "report")
        label, number = plain, 1
        while label in self._labels:
            number += 1
            label = f"{plain}-{number}"
        self._labels.add(label)
        return label


def _row(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"
