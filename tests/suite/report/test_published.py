"""Published curves in a report: the same unit, the same colour, and a verdict by the band that the spec states."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from suite.records import Iteration, Records
from suite.report.collect import findings
from suite.report.figures.chart import LineChart
from suite.report.figures.drawn import panels
from suite.report.figures.further import further_charts
from suite.report.figures.palette import colour
from suite.report.formats.document import Heading, Paragraph, Picture, Table
from suite.report.sections.page import page
from suite.store import open_store, queries
from tests.suite.helpers import SMALL, says
from tests.suite.stores import evaluations, finished, matrix_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from suite.report.model import Findings

pytestmark = pytest.mark.usefixtures("sketched")

CURVES = """\
label: Theirs & Co 2020
source: a file that was made up
note: It says no more.
datasets:
  digits:
    nats: 64
    losses: {sgd: [0.5, 0.25, 0.125, 0.1], kfac: [0.5, 0.25]}
"""
TEXT = SMALL + "published: {file: theirs.yaml, band: 0.1, optimizers: {kpsvd: kfac}}\n"


def steps(losses: Sequence[Sequence[float]], per_epoch: float = 4) -> list[Iteration]:
    """Steps of epochs, a batch loss each."""
    flat = [loss for epoch in losses for loss in epoch]
    return [Iteration(i, i / per_epoch, loss, i, i, 1, 0, 0, 0) for i, loss in enumerate(flat, start=1)]


def found_of(
    folder: Path, runs: dict[tuple[str, int], tuple[list[Iteration], str]], text: str = TEXT, curves: str = CURVES
) -> Findings:
    (folder / "theirs.yaml").write_text(curves, encoding="utf-8")
    matrix = matrix_of(folder, text)
    with open_store(f"sqlite:///{folder}/store.sqlite") as store:
        for cell in matrix.cells:
            if (cell.optimizer, cell.seed) in runs:
                rows, status = runs[cell.optimizer, cell.seed]
                finished(store, cell, Records(rows, evaluations([40.0, 20.0]), []), status)
        return findings(store, matrix.spec, matrix.stage(None), None)


RUNS = {
    ("sgd", 0): (steps([[36, 34, 32, 30], [18, 17, 15, 14], [8, 8, 8, 8], [9]]), "done"),
    ("sgd", 1): (steps([[33] * 4, [16] * 4, [10] * 4]), "done"),
    ("kfac", 0): (steps([[30] * 4, [20] * 4, [10] * 4]), "done"),
    ("kfac", 1): (steps([[9e9] * 3]), "diverged"),
    ("kpsvd", 0): (steps([[40] * 3]), "done"),
    ("adam", 0): (steps([[33] * 4]), "done"),
}


def test_an_epoch_is_the_mean_of_its_steps_and_only_complete_ones_count(tmp_path: Path) -> None:
    matrix = matrix_of(tmp_path)
    with open_store("sqlite://") as store:
        run = finished(store, matrix.cells[0], Records(steps([[1, 2, 3, 6], [5, 5, 5, 7], [100]]), [], []))
        assert [list(part) for part in queries.epochs(store, run)] == [[1, 2], [3, 5.5]]
        odd = finished(store, matrix.cells[1], Records(steps([[1, 2, 4, 8, 16]], per_epoch=2.5), [], []))
        assert [list(part) for part in queries.epochs(store, odd)] == [[1, 2], [1.5, 28 / 3]], "2.5 steps an epoch"
        none = finished(store, matrix.cells[2], Records([], [], []))
        assert [list(part) for part in queries.epochs(store, none)] == [[], []]


def test_losses_are_compared_at_the_last_epoch_that_all_have(tmp_path: Path) -> None:
    rows = {row.standing.optimizer: row for row in found_of(tmp_path, RUNS).besides["digits"]}
    assert set(rows) == {"sgd", "kfac", "kpsvd"}, "Adam was not published"
    sgd, kfac, kpsvd = rows["sgd"], rows["kfac"], rows["kpsvd"]
    assert (sgd.epoch, sgd.theirs) == (3, 8.0), "the fourth epoch is not complete"
    assert sgd.ours == pytest.approx((9.0, math.sqrt(2), 2))
    assert sgd.difference.value == pytest.approx(0.125)
    assert sgd.difference.interval == pytest.approx((0.125 - 12.7062 * 0.125, 0.125 + 12.7062 * 0.125), rel=1e-4)
    assert (kfac.epoch, kfac.theirs, kfac.difference.value) == (2, 16.0, 0.25), "without the seed that diverged"
    assert not kfac.difference.interval.known
    assert kpsvd.epoch is None, "it has no complete epoch"


def test_the_section_has_the_source_a_figure_and_the_verdicts(tmp_path: Path) -> None:
    blocks = page(found_of(tmp_path, RUNS, TEXT.replace("band: 0.1", "band: 0.2")), "command")
    start = next(i for i, b in enumerate(blocks) if b == Heading("Beside Theirs & Co 2020", 3))
    said, picture, verdict, table = blocks[start + 1 : start + 5]
    assert isinstance(said, Paragraph)
    assert says(said.text, "dashed", "a file that was made up")
    assert isinstance(picture, Picture)
    assert isinstance(verdict, Paragraph)
    assert says(verdict.text, "1 of 2 optimizers", "20 %")
    assert isinstance(table, Table)
    assert sorted(table.table.rows) == [
        ["kfac", "kfac", "2", "20.00", "16.00", "+25.0 %", "no"],
        ["kpsvd", "kfac", "—", "—", "—", "—", "—"],
        ["sgd", "sgd", "3", "9.0 ± 1.4", "8.000", "+12.5 % [-146, 171]", "yes"],
    ]


def test_other_data_than_the_published_are_said_to_be_others(tmp_path: Path) -> None:
    text = TEXT.replace("{kpsvd: kfac}", "{kpsvd: kfac}, datasets: {digits: faces}")
    found = found_of(tmp_path, RUNS, text, CURVES.replace("digits:", "faces:"))
    texts = [block.text for block in page(found, "command") if isinstance(block, Paragraph)]
    assert any(says(text, "digits", "not the faces", "published") for text in texts)


def test_theirs_are_dashed_in_our_colour_and_go_no_further_than_ours(tmp_path: Path) -> None:
    chart = further_charts(found_of(tmp_path, RUNS))["digits", "published"]
    assert isinstance(chart, LineChart)
    looks = {line.name: (line.colour, line.stroke) for line in chart.lines}
    assert looks == {
        "sgd": (colour("sgd"), "-"),
        "sgd, Theirs & Co 2020": (colour("sgd"), "--"),
        "kfac": (colour("kfac"), "-"),
        "kfac, Theirs & Co 2020": (colour("kpsvd"), "--"),  # of the first beside it: no seed of it diverged
        "kpsvd": (colour("kpsvd"), "-"),
    }
    points = {trace.label: (list(trace.points.x), list(trace.points.median)) for trace in chart.traces}
    assert points["sgd, Theirs & Co 2020"] == ([1, 2, 3], [32, 16, 8])
    assert points["sgd"][0] == [1, 2, 3]
    assert np.allclose(points["sgd"][1], [33, 16, 9])
    assert (chart.x, chart.choices) == ("epoch", [])
    (axis,) = panels(chart).axes
    drawn = {str(line.get_label()): list(np.asarray(line.get_ydata())) for line in axis.lines}
    assert drawn["sgd, Theirs & Co 2020"] == [32, 16, 8]
    assert axis.get_xlabel() == "epoch"


def test_a_report_without_published_curves_has_no_such_section(tmp_path: Path) -> None:
    found = found_of(tmp_path, RUNS, SMALL)
    assert found.besides == {}
    assert ("digits", "published") not in further_charts(found)
    assert not any(isinstance(b, Heading) and b.text.startswith("Beside") for b in page(found, "command"))
