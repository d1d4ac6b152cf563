"""Ranks of the inverses: what the report says and draws of them, from made-up runs."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from suite.records import Records
from suite.report import write_report
from suite.report.collect import findings
from suite.report.figures.figures import draw_board
from suite.report.figures.multiples import rank_multiples
from suite.report.figures.palette import lines
from suite.report.sections.ranks import Kept, ranks
from suite.store import open_store
from tests.suite.helpers import says
from tests.suite.stores import evaluations, finished, iterations, kept, matrix_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from suite.plan.plan import Matrix
    from suite.records import InverseRank
    from suite.report.model import Board
    from suite.store import Store


def measurements(seed: int, shift: int = 0) -> list[InverseRank]:
    """Eleven layers, the third of which has a dense inverse in the end, and the fifth on seed 1."""
    rows = [
        kept(f"linear{n}", iteration, 10 + n + seed + shift, n, bound=0.1 * n + iteration / 1000)
        for iteration in (20, 40)
        for n in range(1, 12)
    ]
    dense = {(40, "linear3"), (40, "linear5")} if seed else {(40, "linear3")}
    return [
        row._replace(inputs=65, outputs=16, bound=0.0) if (row.iteration, row.layer) in dense else row for row in rows
    ]


@pytest.fixture
def matrix(tmp_path: Path) -> Matrix:
    return matrix_of(tmp_path)


@pytest.fixture
def store(tmp_path: Path, matrix: Matrix) -> Iterator[Store]:
    """KFAC and KPSVD with ranks, Adam without, and SGD with ranks that diverged."""
    with open_store(f"sqlite:///{tmp_path}/store.sqlite") as store:
        for cell in matrix.cells:
            if cell.optimizer == "sgd":
                records = Records(iterations(9), evaluations([40.0]), [], [kept("linear1", 9, 65, 16, 99.0)])
                finished(store, cell, records, "diverged")
                continue
            shift = {"kfac": 0, "kpsvd": 20}.get(cell.optimizer)
            rows = [] if shift is None else measurements(cell.seed, shift)
            finished(store, cell, Records(iterations(40), evaluations([40.0, 20.0 + cell.seed]), [], rows))
        yield store


@pytest.fixture
def board(store: Store, matrix: Matrix) -> Board:
    return findings(store, matrix.spec, matrix.stage(None), None).boards[0]


def test_ranks_are_medians_over_seeds_at_the_last_measurement(board: Board) -> None:
    found = ranks(board)
    assert found is not None
    assert set(found.runs) == {"kfac", "kpsvd"}, "neither Adam nor what diverged"
    assert list(found.layers) == [f"linear{n}" for n in range(1, 12)], "in the order of the network"
    assert set(found.layers.values()) == {(65, 16)}
    assert found.last("kfac", "linear2") == Kept(12.5, 2, dense=False, bound=pytest.approx(0.24))
    assert found.last("kpsvd", "linear2") == Kept(32.5, 2, dense=False, bound=pytest.approx(0.24))
    assert found.last("kfac", "linear3") == Kept(65, 16, dense=True, bound=0.0)
    assert found.last("kfac", "linear5") == Kept(40, 10.5, dense=False, bound=pytest.approx(0.54)), "of one seed only"
    assert found.bound == pytest.approx(1.14), "of all measurements"


def test_each_layer_has_two_panels_to_one_scale_and_a_line_an_optimizer(board: Board) -> None:
    found = ranks(board)
    assert found is not None
    figure = rank_multiples(found, board)
    figure.canvas.draw()
    shown = [axis for axis in figure.axes if axis.get_visible()]
    assert len(shown) == 2 * 11
    assert len({axis.get_ylim() for axis in shown}) == 1
    assert shown[0].get_ylim()[0] < 0 < 65 < shown[0].get_ylim()[1]
    styles = lines(board.shown)
    for axis in shown:
        assert [(line.get_label(), line.get_color()) for line in axis.lines] == [
            (name, styles[name].color) for name in found.runs
        ]
    values = {str(line.get_label()): np.asarray(line.get_ydata()) for line in shown[1].lines}
    assert (values["kfac"][0], values["kfac"][-1], values["kpsvd"][0]) == pytest.approx((12.5, 12.5, 32.5))


def test_the_page_has_a_section_with_table_and_figure(store: Store, matrix: Matrix, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = {"command": "c", "formats": ["md", "csv", "json"], "fingerprint": None}
    written = write_report(store, matrix.spec, matrix.stage(None), out, **arguments)  # type: ignore[arg-type]
    page = (out / "README.md").read_text()
    assert page.count("### Ranks of the inverses") == 1
    assert says(page, "largest bound", "1.14")
    table = [[c.strip() for c in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("|")]
    assert ["layer", "width", "kfac", "kpsvd"] in table
    assert ["linear2", "65 / 16", "12.5 / 2", "32.5 / 2"] in table
    assert ["linear3", "65 / 16", "dense", "dense"] in table
    assert ["linear5", "65 / 16", "40 / 10.5", "50 / 10.5"] in table
    assert "](digits-ranks.png)" in page
    assert out / "digits-ranks.png" in written
    assert (out / "digits-ranks.png").read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader((out / "ranks.csv").read_text().splitlines()))
    assert len(rows) == 2 * 2 * 2 * 11 + 2, "every measurement, of what diverged as well"
    (row,) = (
        r for r in rows if (r["optimizer"], r["seed"], r["iteration"], r["layer"]) == ("kfac", "1", "40", "linear3")
    )
    assert (row["inputs"], row["outputs"], row["width_in"], row["width_out"], row["bound"]) == (
        "65",
        "16",
        "65",
        "16",
        "0.0",
    )
    listed = json.loads((out / "report.json").read_text())["boards"][0]["inverse_ranks"]
    assert len(listed) == 2 * 11
    (entry,) = (r for r in listed if (r["optimizer"], r["layer"]) == ("kfac", "linear2"))
    assert (entry["inputs"], entry["outputs"], entry["width_in"], entry["width_out"]) == (12.5, 2, 65, 16)


@pytest.mark.usefixtures("sketched")
def test_without_ranks_there_is_no_section(tmp_path: Path, matrix: Matrix) -> None:
    with open_store(f"sqlite:///{tmp_path}/plain.sqlite") as store:
        for cell in matrix.cells:
            finished(store, cell, Records(iterations(40), evaluations([40.0]), []))
        board = findings(store, matrix.spec, matrix.stage(None), None).boards[0]
        arguments = {"command": "c", "formats": ["md", "csv", "json"], "fingerprint": None}
        write_report(store, matrix.spec, matrix.stage(None), tmp_path / "out", **arguments)  # type: ignore[arg-type]
    assert ranks(board) is None
    assert "ranks" not in draw_board(board, tmp_path)
    assert "Ranks of the inverses" not in (tmp_path / "out" / "README.md").read_text()
    assert (tmp_path / "out" / "ranks.csv").read_text().count("\n") == 1, "a heading alone"
    assert json.loads((tmp_path / "out" / "report.json").read_text())["boards"][0]["inverse_ranks"] == []
