"""What is on a figure, read from its artists; how it looks is for eyes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from suite.records import Records
from suite.report.collect import findings
from suite.report.figures import figures
from suite.report.figures.palette import colour
from suite.store import open_store
from tests.suite.helpers import SMALL
from tests.suite.stores import evaluations, finished, fisher, iterations, matrix_of

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

    from suite.report.model import Board

MANY = SMALL.replace("sgd, lr: 0.01}", "sgd, lr: [0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09]}")


def board_of(folder: Path, text: str = SMALL, diverged: tuple[str, ...] = ()) -> Board:
    """Every cell done, but the named (seed 1, or both where it ends in "!")."""
    matrix = matrix_of(folder, text)
    with open_store(f"sqlite:///{folder}/store.sqlite") as store:
        for number, cell in enumerate(matrix.cells):
            errors = [fisher("linear1", i, 0.5, 0.6, 0.4, math.nan) for i in (30, 60)]
            losses = evaluations([40.0, 30.0, 22.0, 15.0 + number / 10])
            kronecker = errors if cell.method.method in ("kfac", "kpsvd") else []
            if f"{cell.optimizer}!" in diverged or (cell.optimizer in diverged and cell.seed == 1):
                explosion = [row._replace(loss=40.0 * 2**row.iteration) for row in iterations(9)]
                explosion += [iterations(1, start=10)[0]._replace(loss=math.nan)]
                finished(store, cell, Records(explosion, evaluations([40.0, math.nan]), []), "diverged")
            else:
                finished(store, cell, Records(iterations(60), losses, kronecker))
        return findings(store, matrix.spec, matrix.stage(None), None).boards[0]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_each_optimizer_has_a_line_and_a_band_in_both_panels(tmp_path: Path) -> None:
    figure = figures._loss(board_of(tmp_path))
    assert sorted(legend(figure)) == ["adam", "kfac", "kpsvd", "sgd"]
    for axis in figure.axes:
        assert len(axis.lines) == 4
        assert len(axis.collections) == 4
    assert "above the floor" in figure.axes[0].get_ylabel()
    (line,) = (line for line in figure.axes[0].lines if line.get_label() == "kfac")
    assert np.asarray(line.get_ydata())[0] == pytest.approx(40.0 - 10.0)
    assert line.get_color() == colour("kfac")


def test_a_diverged_seed_takes_no_curve_away_and_stretches_no_axis(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    plain = figures._loss(board_of(tmp_path / "plain"))
    figure = figures._loss(board_of(tmp_path, diverged=("sgd",)))
    assert "sgd (1 of 2 diverged, ×)" in legend(figure)
    axis = figure.axes[0]
    assert axis.get_ylim()[1] == pytest.approx(plain.axes[0].get_ylim()[1], rel=0.05)
    (line,) = (line for line in axis.lines if str(line.get_label()).startswith("sgd"))
    assert np.asarray(line.get_xdata())[-1] == 60, "the seed that is done is drawn to its end"
    (cross,) = (line for line in axis.lines if line.get_marker() == "x")
    assert list(np.asarray(cross.get_xdata())) == [9], "at the last finite loss"
    assert np.asarray(cross.get_ydata())[0] == pytest.approx(axis.get_ylim()[1])


@pytest.mark.parametrize("diverged", [("sgd!",), ("sgd!", "adam!", "kfac!", "kpsvd!")])
def test_where_every_seed_diverged_there_is_a_figure_too(tmp_path: Path, diverged: tuple[str, ...]) -> None:
    written = figures.draw_board(board_of(tmp_path, diverged=diverged), tmp_path)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written.values())


def test_of_many_settings_the_best_of_each_method_are_named(tmp_path: Path) -> None:
    board = board_of(tmp_path, MANY)
    assert len(board.standings) == 12
    assert sorted(s.optimizer for s in board.shown) == ["adam", "kfac", "kpsvd", "sgd[lr=0.01]"]
    figure = figures._loss(board)
    assert sorted(legend(figure)) == ["adam", "kfac", "kpsvd", "sgd[lr=0.01]"]
    assert len(figure.axes[0].lines) == 4 + 2 * 8, "the others are there, faintly"
    assert len(figures._time(board).axes[0].get_yticklabels()) == 4


def test_bars_are_stacked_by_phase_with_what_refreshes_add_at_the_end(tmp_path: Path) -> None:
    board = board_of(tmp_path)
    figure = figures._time(board)
    axis = figure.axes[0]
    assert legend(figure) == ["forward, backward", "update", "curvature", "inversion"]
    assert [label.get_text() for label in axis.get_yticklabels()] == [s.optimizer for s in board.standings][::-1]
    assert [label.get_color() for label in axis.get_yticklabels()] == [colour(s.method) for s in board.standings][::-1]
    for bars, edges in zip(axis.containers, [(0, 5), (5, 7), (7, 9), (9, 10)], strict=True):
        for bar in bars:  # type: ignore[attr-defined]
            assert (bar.get_x(), bar.get_x() + bar.get_width()) == pytest.approx(edges)
    assert {text.get_text() for text in axis.texts} == {" 10.0 ms, 1.00 × Adam, 30% refreshes"}


def test_fisher_errors_name_only_methods_that_have_them(tmp_path: Path) -> None:
    figure = figures._fisher(board_of(tmp_path))
    assert sorted(legend(figure)) == ["best possible at that rank", "kfac", "kpsvd"]
