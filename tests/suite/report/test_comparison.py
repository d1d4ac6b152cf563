"""Approximations fitted along a training: what the report says and draws of them, from made-up runs."""

from __future__ import annotations

import csv
import json
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from suite.plan.stage import Stage
from suite.records import Records
from suite.report import write_report
from suite.report.collect import findings
from suite.report.figures.figures import draw_board
from suite.report.figures.multiples import small_multiples
from suite.report.figures.palette import colour
from suite.report.sections.comparison import comparisons
from suite.store import open_store
from tests.suite.helpers import SMALL
from tests.suite.stores import evaluations, finished, fisher, iterations, matrix_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from suite.plan.plan import Matrix
    from suite.records import FisherError
    from suite.report.model import Board
    from suite.store import Store

NAMES = ("kpsvd", "kfac", "lanczos")  # as the spec has them, which is not the order of the alphabet
ASKING = SMALL.replace("fisher_samples: 32", f"fisher_samples: 32, fisher_approximations: [{', '.join(NAMES)}]")


def fitted(layer: str, iteration: int, shift: float) -> list[FisherError]:
    """In batch .2, .3 and .1 and held out twice that, plus `shift`; the optima are .2 and .1, and .05 less held out."""
    errors = {"kpsvd": (0.2, 1), "kfac": (0.3, 1), "lanczos": (0.1, 2)}
    return [
        fisher(
            layer,
            iteration,
            error + shift,
            2 * error + shift,
            best := {1: 0.2, 2: 0.1}[rank] + shift,
            best - 0.05,
            approximation=name,
            own=False,
            rank=rank,
        )
        for name, (error, rank) in errors.items()
    ]


def measurements(seed: int, layers: int, last: int = 60) -> list[FisherError]:
    return [
        row
        for iteration in (30, last)
        for layer in range(1, layers + 1)
        for row in fitted(f"linear{layer}", iteration, layer / 10 + seed / 50)
    ]


@pytest.fixture
def matrix(tmp_path: Path) -> Matrix:
    return matrix_of(tmp_path, ASKING)


@pytest.fixture
def store(tmp_path: Path, matrix: Matrix) -> Iterator[Store]:
    """Adam, and KFAC with its own error of .9 beside those that were fitted."""
    with open_store(f"sqlite:///{tmp_path}/store.sqlite") as store:
        for cell in matrix.cells:
            if cell.optimizer in ("adam", "kfac"):
                errors = measurements(cell.seed, 11)
                if cell.optimizer == "kfac":
                    errors += [fisher("linear1", i, 0.9, 0.95, 0.8, 0.85) for i in (30, 60)]
                finished(store, cell, Records(iterations(60), evaluations([40.0, 20.0]), errors))
        yield store


@pytest.fixture
def board(store: Store, matrix: Matrix) -> Board:
    return findings(store, matrix.spec, matrix.stage(None), None).boards[0]


def test_errors_are_means_over_seeds_in_the_order_of_spec_and_network(board: Board) -> None:
    adam = next(c for c in comparisons(board) if c.optimizer == "adam")
    assert (adam.seeds, adam.approximations, adam.ranks) == (2, NAMES, [1, 2])
    assert adam.layers == [f"linear{n}" for n in range(1, 12)]
    x, y = adam.curve("linear3", "kfac", "held_out")
    assert list(x) == [30, 60]
    assert y == pytest.approx([0.91, 0.91])  # 2 · .3 + .3, and the mean of 0 and .02
    assert adam.last["linear3", "lanczos"].best_held_out == pytest.approx(0.36)
    assert adam.of_rank(2) == "lanczos"


def test_an_optimizers_own_error_is_no_part_of_the_comparison_nor_the_other_way_round(board: Board) -> None:
    assert [c.optimizer for c in comparisons(board)] == ["adam", "kfac"]
    standings = {standing.optimizer: standing for standing in board.standings}
    assert standings["adam"].fisher is None
    assert standings["kfac"].fisher == pytest.approx((1, 0.9, 0.95, 0.8, 0.85, math.nan), nan_ok=True)
    kfac = next(c for c in comparisons(board) if c.optimizer == "kfac")
    assert kfac.last["linear1", "kfac"].in_batch == pytest.approx(0.41)


def test_seeds_are_compared_where_all_were_measured(tmp_path: Path, matrix: Matrix) -> None:
    with open_store(f"sqlite:///{tmp_path}/uneven.sqlite") as store:
        for cell in matrix.cells:
            if cell.optimizer == "adam":
                errors = measurements(cell.seed, 2, last=60 + cell.seed)
                if cell.seed:  # a layer that died
                    errors = [r._replace(in_batch=math.nan) if r.layer == "linear2" else r for r in errors]
                finished(store, cell, Records(iterations(60), evaluations([40.0]), errors))
            if cell.optimizer == "sgd":
                finished(store, cell, Records(iterations(9), evaluations([40.0]), measurements(0, 2)), "diverged")
        (adam,) = comparisons(findings(store, matrix.spec, matrix.stage(None), None).boards[0])
    assert list(adam.course) == [30]
    assert adam.last["linear1", "kfac"].in_batch == pytest.approx(0.41)
    assert adam.last["linear2", "kfac"].in_batch == pytest.approx(0.5), "of the seed whose layer is alive"


@pytest.mark.usefixtures("sketched")
def test_without_fitted_approximations_there_is_no_section(tmp_path: Path) -> None:
    matrix = matrix_of(tmp_path)
    with open_store(f"sqlite:///{tmp_path}/plain.sqlite") as store:
        for cell in matrix.cells:
            errors = [fisher("linear1", 60, 0.2, 0.4, 0.1, 0.3)] if cell.optimizer == "kfac" else []
            finished(store, cell, Records(iterations(60), evaluations([40.0]), errors))
        board = findings(store, matrix.spec, matrix.stage(None), None).boards[0]
        assert comparisons(board) == []
        assert set(draw_board(board, tmp_path)) == {"loss", "time", "fisher"}


@pytest.mark.parametrize(("layers", "columns", "rows"), [(1, 1, 2), (4, 4, 2), (6, 6, 2), (8, 4, 4), (11, 6, 4)])
def test_there_is_a_panel_for_each_layer_in_batch_above_held_out(
    tmp_path: Path, matrix: Matrix, layers: int, columns: int, rows: int
) -> None:
    cell = next(cell for cell in matrix.cells if cell.optimizer == "adam")
    with open_store(f"sqlite:///{tmp_path}/panels.sqlite") as store:
        finished(store, cell, Records(iterations(60), evaluations([40.0]), measurements(0, layers)))
        (comparison,) = comparisons(findings(store, matrix.spec, Stage((), [], [cell], []), None).boards[0])
    figure = small_multiples(comparison)
    figure.canvas.draw()
    shown = [axis for axis in figure.axes if axis.get_visible()]
    assert len(figure.axes) == columns * rows
    assert len(shown) == 2 * layers
    assert [axis.get_title(loc="left") or axis.get_title() for axis in shown if axis.get_title()] == comparison.layers
    for axis in shown:
        assert [line.get_label() for line in axis.lines] == [*NAMES, "best rank 1", "best rank 2"]
        assert [line.get_color() for line in axis.lines][:3] == [colour(name) for name in NAMES]
    above, below = figure.axes[0], figure.axes[columns]
    assert np.asarray(above.lines[1].get_ydata()) == pytest.approx([0.4, 0.4])
    assert np.asarray(below.lines[1].get_ydata()) == pytest.approx([0.7, 0.7])
    assert np.asarray(below.lines[4].get_ydata()) == pytest.approx([0.15, 0.15])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [*NAMES, "best rank 1", "best rank 2"]


def test_the_page_has_a_section_with_figure_and_table(store: Store, matrix: Matrix, tmp_path: Path) -> None:
    out = tmp_path / "out"
    written = write_report(
        store, matrix.spec, matrix.stage(None), out, command="c", formats=["md", "csv", "json"], fingerprint=None
    )
    page = (out / "README.md").read_text()
    lines = [[c.strip() for c in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("|")]
    assert "### Fisher approximation along adam" in page
    assert "mean over 2 seeds" in page
    assert "At iteration 60, in batch (held out):" in page
    assert ["layer", *NAMES, "best rank 1", "best rank 2"] in lines
    row = ["linear3", "0.510 (0.710)", "0.610 (0.910)", "0.410 (0.510)", "0.510 (0.460)", "0.410 (0.360)"]
    assert lines.count(row) == 2, "along Adam and along KFAC"
    assert ["kfac", "1", "0.900", "0.800", "0.950", "0.850"] in lines, "its own F̂ has its table as ever"
    for name in ("digits-approximations-adam.png", "digits-approximations-kfac.png"):
        assert f"]({name})" in page
        assert out / name in written
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader((out / "fisher.csv").read_text().splitlines()))
    assert len(rows) == 2 * 2 * (2 * 11 * 3) + 2 * 2
    (own,) = (r for r in rows if (r["own"], r["seed"], r["iteration"]) == ("True", "0", "60"))
    assert (own["optimizer"], own["approximation"], own["in_batch"], own["spectrum"]) == ("kfac", "kfac", "0.9", "")
    listed = json.loads((out / "report.json").read_text())["boards"][0]["approximations"]
    assert len(listed) == 2 * 11 * 3
    (found,) = (r for r in listed if (r["optimizer"], r["layer"], r["approximation"]) == ("adam", "linear3", "kfac"))
    assert found["in_batch"] == pytest.approx(0.61)
    assert (found["iteration"], found["seeds"], found["spectrum"]) == (60, 2, None)


@pytest.mark.usefixtures("sketched")
def test_a_dead_layer_has_no_numbers(tmp_path: Path, matrix: Matrix) -> None:
    cell = next(cell for cell in matrix.cells if cell.optimizer == "adam")
    nan = math.nan
    errors = measurements(0, 1)
    errors += [
        r._replace(layer="linear2", in_batch=nan, held_out=nan, best_in_batch=nan, best_held_out=nan) for r in errors
    ]
    with open_store(f"sqlite:///{tmp_path}/dead.sqlite") as store:
        finished(store, cell, Records(iterations(60), evaluations([40.0]), errors))
        write_report(
            store, matrix.spec, Stage((), [], [cell], []), tmp_path / "d", command="c", formats=["md"], fingerprint=None
        )
    rows = [
        [text.strip() for text in line.strip("|").split("|")]
        for line in (tmp_path / "d" / "README.md").read_text().splitlines()
    ]
    assert ["linear2", *"—————"] in rows
