"""Tables and figures of compression from made-up losses."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from suite.records import Compressed, Records
from suite.report.collect import findings
from suite.report.compression import baselines, partners
from suite.report.figures.compression_figures import compression_charts
from suite.report.formats.document import Folded, Table
from suite.report.sections.compression_page import blocks, differences, losses
from suite.store import open_store
from tests.suite.compressing import COMPRESSING
from tests.suite.specs import changed
from tests.suite.stores import evaluations, finished, iterations, matrix_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from suite.report.formats.document import Block
    from suite.report.model import Kind

pytestmark = pytest.mark.usefixtures("sketched")

THREE = COMPRESSING.replace("seeds: [0, 1]", "seeds: [0, 1, 2]")
LOSSES = {"magnitude": [30.0, 31.0, 32.0], "surgeon-kfac": [21.0, 22.0, 23.0], "surgeon-kpsvd": [20.9, 21.8, 22.7]}


def kinds_of(folder: Path, by_method: Mapping[str, Sequence[float]], text: str = THREE) -> list[Kind]:
    """Losses at ratio .4 by method and seed; at 1 all are 20; fine-tuning takes a nat off, test losses are 1 above."""
    matrix = matrix_of(folder, text)
    with open_store(f"sqlite:///{folder}/made-up.sqlite") as store:
        for cell in matrix.stage(None).compressions:
            assert cell.compression is not None
            values = by_method.get(cell.compression.label, ())
            if cell.seed < len(values):
                at = {1.0: 20.0, 0.4: values[cell.seed]}
                rows = [Compressed(r, i, 1000, x - i / 10, x - i / 10 + 1) for r, x in at.items() for i in (0, 10)]
                finished(store, cell, Records(iterations(60), evaluations([40.0, 20.0]), [], compressed=rows))
        return findings(store, matrix.spec, matrix.stage(None), None).compressions


def test_losses_are_means_with_their_spread(tmp_path: Path) -> None:
    (kind,) = kinds_of(tmp_path, LOSSES)
    assert (kind.dataset, kind.name, kind.ratios, kind.moments) == ("digits", "elements", [1.0, 0.4], [0, 10])
    table = losses(kind, 10, "test_loss")
    assert table.headings == ["method", "100 %", "40 %"]
    assert table.rows == [
        ["magnitude", "20.00", "31.0 ± 1.0"],
        ["surgeon-kfac", "20.00", "22.0 ± 1.0"],
        ["surgeon-kpsvd", "20.00", "21.80 ± 0.90"],
    ]


def test_differences_are_paired_and_of_what_is_alike(tmp_path: Path) -> None:
    (kind,) = kinds_of(tmp_path, LOSSES)
    assert partners(kind) == [("surgeon-kpsvd", "surgeon-kfac")]
    assert baselines(kind) == [("surgeon-kfac", "magnitude"), ("surgeon-kpsvd", "magnitude")]
    rows = differences(kind, partners(kind), 0).rows
    half = 4.302653 * 0.1 / math.sqrt(3)  # t of two degrees of freedom; the differences are −.1, −.2 and −.3
    expected = f"-0.20 [{-0.2 - half:.2f}, {-0.2 + half:.2f}]"
    assert rows == [[*partners(kind)[0], loss, expected] for loss in ("training", "test")]


def test_kinds_of_methods_stand_apart(tmp_path: Path) -> None:
    found = kinds_of(tmp_path, {"magnitude": [30.0], "rows": [30.0], "svd": [30.0], "gfwsvd": [25.0]})
    assert [(kind.name, list(kind.methods)) for kind in found] == [
        ("elements", ["magnitude"]),
        ("rows", ["rows"]),
        ("low rank", ["svd", "gfwsvd"]),
    ]
    assert [baselines(kind) for kind in found] == [[], [], [("gfwsvd", "svd")]]


def test_a_kind_of_some_layers_says_so(tmp_path: Path) -> None:
    text = changed("structure: row", "structure: row, exclude: [last]", COMPRESSING)
    found = kinds_of(tmp_path, {"magnitude": [30.0], "rows": [30.0]}, text)
    assert [kind.name for kind in found] == ["elements", "rows of all but the last layer"]


def test_what_is_no_number_is_counted_not_averaged(tmp_path: Path) -> None:
    (kind,) = kinds_of(tmp_path, {"magnitude": [30.0, math.nan, 32.0], "surgeon-kfac": [21.0, 22.0, math.inf]})
    assert losses(kind, 0, "train_loss").rows[0][2] == "31.0 ± 1.4 (2 of 3)"
    assert losses(kind, 0, "train_loss").rows[1][2] == "21.50 ± 0.71 (2 of 3)"
    assert differences(kind, baselines(kind), 0).rows[0][3] == "-9.00"


def tables(found: Sequence[Block]) -> list[Table]:
    return [
        table
        for b in found
        for table in ([b] if isinstance(b, Table) else tables(b.blocks) if isinstance(b, Folded) else [])
    ]


def test_the_page_has_every_table_once_and_nothing_without_compressions(tmp_path: Path) -> None:
    assert blocks([]) == []
    found = blocks(kinds_of(tmp_path, LOSSES))
    assert len(tables(found)) == 2 + 2 + 2 + 2 + 1  # losses, two kinds of differences, test losses, parameters
    assert all(table.alignment[0] == "left" and table.alignment[-1] == "right" for table in tables(found))


def test_the_chart_has_every_method_at_every_choice(tmp_path: Path) -> None:
    chart = compression_charts(kinds_of(tmp_path, LOSSES))["digits", "compression-elements"]
    assert [list(choice.options) for choice in chart.choices] == [
        ["before fine-tuning", "after 10 iterations of fine-tuning"],
        ["training", "test"],
    ]
    assert [line.name for line in chart.lines] == list(LOSSES)
    assert len({line.colour for line in chart.lines}) == 3
    drawn = {(trace.label, trace.at): trace.points for trace in chart.traces}
    assert len(drawn) == 3 * 2 * 2
    points = drawn["magnitude", (1, 1)]
    assert list(points.x) == [0.4, 1.0]
    assert list(points.median) == pytest.approx([31.0 - 10.5, 20.0 - 10.5])  # above the floor of the test targets
    assert (points.low[0], points.high[0]) == pytest.approx((19.5, 21.5))
