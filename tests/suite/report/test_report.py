"""A report of made-up runs whose every number can be worked out by hand."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

from suite.records import Records
from suite.report import terminal_leaderboard, write_report
from suite.report.collect import findings
from suite.report.formats import tables
from suite.store import open_store
from tests.suite.helpers import SMALL, says
from tests.suite.stores import MACHINE, evaluations, finished, fisher, iterations, matrix_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from suite.plan.plan import Matrix
    from suite.store import Store

FINAL = {("adam", 0): 17.0, ("adam", 1): 19.0, ("kfac", 0): 15.0, ("kfac", 1): 16.0, ("sgd", 0): 25.0}


@pytest.fixture
def matrix(tmp_path: Path) -> Matrix:
    return matrix_of(tmp_path)


@pytest.fixture
def store(tmp_path: Path, matrix: Matrix) -> Iterator[Store]:
    """Adam and KFAC done, SGD diverged on seed 1, KPSVD failed on seed 0 and not run on seed 1."""
    with open_store(f"sqlite:///{tmp_path}/store.sqlite") as store:
        for cell in matrix.cells:
            name = (cell.optimizer, cell.seed)
            if name in FINAL:
                step = 0.02 if cell.optimizer == "kfac" else 0.01
                errors = []
                if cell.optimizer == "kfac":
                    errors = [
                        fisher("linear1", 60, 0.2, 0.4, 0.1, 0.3, math.nan, 0.5),
                        fisher("linear2", 60, 0.4, 0.6, 0.3, 0.5, math.nan, 0.8),
                    ]
                    errors += [fisher("linear1", 30, 0.9, 0.9, 0.9, 0.9)]
                losses = evaluations([40.0, 30.0, 22.0, FINAL[name]], step=step)
                finished(store, cell, Records(iterations(60, step=step), losses, errors))
            elif name == ("sgd", 1):
                finished(store, cell, Records(iterations(7), evaluations([40.0]), []), "diverged")
            elif name == ("kpsvd", 0):
                run = finished(store, cell, Records(iterations(3), [], []), "error")
                store._update(run, error="Traceback …\nValueError: a | pipe & <b>tags</b>")
        yield store


def test_the_numbers_of_the_leaderboard(store: Store, matrix: Matrix) -> None:
    found = findings(store, matrix.spec, matrix.stage(None), "sources")
    (board,) = found.boards
    assert [s.optimizer for s in board.standings] == ["kfac", "adam", "sgd", "kpsvd"]
    kfac, adam, sgd, kpsvd = board.standings
    assert kfac.train_loss == pytest.approx((15.5, 0.5**0.5, 2))
    assert kfac.test_loss.mean == pytest.approx(16.5)
    assert kfac.best_train_loss == 15.0
    assert kfac.seconds_per_iteration == pytest.approx(0.02)
    assert kfac.cost_ratio == pytest.approx(2.0)
    assert kfac.phases == pytest.approx(
        {"forward_backward": 0.01, "curvature": 0.004, "inversion": 0.002, "update": 0.004}
    )
    assert kfac.refreshes == pytest.approx(0.3)
    assert adam.cost_ratio == pytest.approx(1.0)
    twenty, one = kfac.targets
    assert (twenty.target, twenty.iterations, twenty.hits, twenty.of) == (20.0, 60, 2, 2)
    assert twenty.seconds == pytest.approx(1.2)
    assert (one.iterations, one.hits) == (None, 0)
    assert kfac.fisher is not None
    assert kfac.fisher == pytest.approx((1, 0.3, 0.5, 0.2, 0.4, 0.65)), "of the last measurement alone"
    assert (sgd.train_loss.n, sgd.diverged, len(sgd.results)) == (1, 1, 2)
    assert kpsvd.results == []
    assert [(gap.cell.name, gap.state) for gap in found.gaps] == [
        ("kpsvd × digits × seed 0", "error"),
        ("kpsvd × digits × seed 1", "not run"),
    ]
    assert found.measured == 6


@pytest.mark.parametrize(("steps", "expected"), [((0.03, 0.01, 0.02), 0.02), ((0.01, 0.02, 0.05, 0.04), 0.03)])
def test_phases_are_those_of_the_seed_in_the_middle_and_add_up_to_the_median(
    tmp_path: Path, steps: tuple[float, ...], expected: float
) -> None:
    matrix = matrix_of(tmp_path, SMALL.replace("seeds: [0, 1]", f"seeds: {list(range(len(steps)))}"))
    with open_store(f"sqlite:///{tmp_path}/phases.sqlite") as store:
        for cell in matrix.cells:
            if cell.optimizer == "kfac":
                finished(store, cell, Records(iterations(60, step=steps[cell.seed]), evaluations([40.0]), []))
        (board,) = findings(store, matrix.spec, matrix.stage(None), None).boards
    kfac = board.standings[0]
    assert kfac.seconds_per_iteration == pytest.approx(expected)
    assert sum(kfac.phases.values()) == pytest.approx(expected)
    assert kfac.phases["inversion"] == pytest.approx(0.1 * expected)


@pytest.mark.usefixtures("sketched")
def test_the_page_shows_them(store: Store, matrix: Matrix, tmp_path: Path) -> None:
    written = write_report(
        store,
        matrix.spec,
        matrix.stage(None),
        tmp_path / "out",
        command="kfsvd-bench run small.yaml",
        formats=["md"],
        fingerprint="sources",
    )
    page = (tmp_path / "out" / "README.md").read_text()
    assert says(page, "6 of 8 cells", "1 diverged", "2 without a result")
    lines = [[c.strip(" *") for c in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("|")]
    kfac = next(line for line in lines if line[:2] == ["1", "kfac"])
    assert kfac[2:] == ["15.50 ± 0.71", r"\[9.1, 21.9\]", "5.50 ± 0.71", "0.2422", "16.50 ± 0.71", "15.00", "2 of 2"]
    assert next(line for line in lines if line[:2] == ["3", "sgd"])[2:5] == ["25.00", "—", "15.00"]
    assert ["kfac", "2 of 2", "60", "60", "1.20", "0.600", "2.40", "1.20"] in lines, "restricted to SGD's 0.6 seconds"
    assert ["kfac", "0 of 2", "missed", "60", "missed", "0.600", "missed", "1.20"] in lines
    assert ["kfac", "10.0", "4.00", "2.00", "4.00", "20.0", "2.00", "30%"] in lines
    assert lines.count(["kpsvd", *"———————"]) == 3, "nothing of what was not measured: of two targets and of times"
    assert ["linear1", "0.200 / 0.400 / 0.500"] in lines
    assert any(line[:2] == ["sgd × digits × seed 1", "diverged"] for line in lines)
    assert r"ValueError: a \| pipe & \<b\>tags\</b\>" in page, "foreign text is escaped"
    assert "kfsvd-bench run small.yaml" in page
    assert "commit 000000000000" in page
    assert f"Specification {hashlib.sha256(SMALL.encode()).hexdigest()[:12]} (SHA-256), last run 20" in page
    boards = {"digits-loss.png", "digits-time.png", "digits-fisher.png"}
    assert {path.name for path in written} == {"README.md", *boards, "profile.png"}


def test_the_page_of_a_store_is_the_same_to_the_last_byte(store: Store, matrix: Matrix, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        write_report(
            store,
            matrix.spec,
            matrix.stage(None),
            tmp_path / folder,
            command="c",
            formats=["md", "json"],
            fingerprint=None,
        )
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_a_mean_over_survivors_does_not_win(store: Store, matrix: Matrix) -> None:
    cells = {(cell.optimizer, cell.seed): cell for cell in matrix.cells}
    finished(store, cells["kfac", 0], Records(iterations(60), evaluations([40.0, 1.0]), []))
    finished(store, cells["kfac", 1], Records(iterations(5), evaluations([40.0]), []), "diverged")
    (board,) = findings(store, matrix.spec, matrix.stage(None), "sources").boards
    assert [s.optimizer for s in board.standings] == ["adam", "kfac", "sgd", "kpsvd"]
    assert board.standings[1].train_loss.mean == 1.0


@pytest.mark.usefixtures("sketched")
def test_names_are_escaped_in_headings_as_in_rows(tmp_path: Path) -> None:
    matrix = matrix_of(tmp_path, SMALL.replace("lr: 0.1, damping: 1.0", "lr: 0.1, damping: [1.0, 2.0]"))
    label = "kfac[damping=1]"
    (cell,) = (cell for cell in matrix.cells if cell.optimizer == label and cell.seed == 0)
    with open_store(f"sqlite:///{tmp_path}/labels.sqlite") as store:
        records = Records(iterations(60), evaluations([40.0, 20.0]), [fisher("linear|1", 60, 0.2, 0.4, 0.1, 0.3)])
        finished(store, cell, records)
        write_report(store, matrix.spec, matrix.stage(None), tmp_path, command="c", formats=["md"], fingerprint=None)
    cells = [[text.strip() for text in line.split(" | ")] for line in (tmp_path / "README.md").read_text().splitlines()]
    assert ["| layer", r"kfac\[damping=1\] |"] in cells
    assert [r"| linear\|1", "0.200 / 0.400 |"] in cells
    assert label not in (tmp_path / "README.md").read_text()


@pytest.mark.usefixtures("sketched")
def test_several_environments_or_sources_are_said(store: Store, matrix: Matrix, tmp_path: Path) -> None:
    cell = matrix.cells[-1]
    finished(store, cell, Records(iterations(60), evaluations([40.0, 20.0]), []), fingerprint="older")
    arguments = {"command": "c", "formats": ["md"]}
    write_report(store, matrix.spec, matrix.stage(None), tmp_path / "one", fingerprint="sources", **arguments)  # type: ignore[arg-type]
    write_report(store, matrix.spec, matrix.stage(None), tmp_path / "any", fingerprint=None, **arguments)  # type: ignore[arg-type]
    warning = "several versions of kfsvd's sources"
    assert warning not in (tmp_path / "one" / "README.md").read_text()
    assert warning in (tmp_path / "any" / "README.md").read_text()


def test_json_has_no_nan_and_csv_no_gaps(store: Store, matrix: Matrix, tmp_path: Path) -> None:
    write_report(
        store, matrix.spec, matrix.stage(None), tmp_path, command="c", formats=["csv", "json"], fingerprint="sources"
    )

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    document = json.loads((tmp_path / "report.json").read_text(), parse_constant=refuse)
    board = document["boards"][0]
    assert board["standings"][3]["train_loss"]["mean"] is None
    assert [standing["rank"] for standing in board["standings"]] == [1, 1, 3, None]
    (against_adam,) = (row for row in board["differences"] if (row["optimizer"], row["against"]) == ("kfac", "adam"))
    assert (against_adam["difference"]["value"], against_adam["ends_lower"]["n"]) == (-2.5, 2)
    row = next(row for row in board["speedups"] if (row["optimizer"], row["against"]) == ("kfac", "adam"))
    assert (row["target"], row["clock"], row["ratio"], row["low"]) == (20, "iteration", 1, None)
    assert "Seeds diverged: sgd (1 of 2)." in board["flags"]
    assert (document["boards"][0]["likelihood"], document["boards"][0]["test_floor"]) == ("bernoulli", 10.5)
    assert document["sources"] == ["sources"]
    assert document["specification"] == hashlib.sha256(SMALL.encode()).hexdigest()
    assert (document["contended"], document["reference_seconds"]["mean"]) == (0, pytest.approx(0.004))
    assert document["environments"] == [asdict(MACHINE)]
    lines = (tmp_path / "cells.csv").read_text().splitlines()
    assert len(lines) == 1 + 6
    assert len({line.count(",") for line in lines}) == 1


def test_the_terminal_shows_the_same_ranking(store: Store, matrix: Matrix) -> None:
    text = terminal_leaderboard(store, matrix.spec, matrix.stage(None), "sources")
    assert "15.50 ± 0.71" in text
    assert text.index("kfac") < text.index("adam") < text.index("sgd")
    (board,) = findings(store, matrix.spec, matrix.stage(None), "sources").boards
    shown = [line.split()[:2] for line in text.splitlines()[3:]]
    assert shown == [row[:2] for row in tables.ranking(board).rows] == [
        ["1", "kfac"], ["1", "adam"], ["3", "sgd"], ["—", "kpsvd"],
    ]  # fmt: skip


def test_a_board_without_floor_or_adam_leaves_those_columns_out(tmp_path: Path) -> None:
    text = SMALL.replace("  adam: {method: adam, lr: 0.003}\n", "").replace("targets: {digits: [20.0, 1.0]}\n", "")
    matrix = matrix_of(tmp_path, text)
    with open_store(f"sqlite:///{tmp_path}/other.sqlite") as store:
        run = finished(store, matrix.cells[0], Records(iterations(60), evaluations([40.0, 20.0]), []))
        store._update(run, floor=None, test_floor=None)
        shown = terminal_leaderboard(store, matrix.spec, matrix.stage(None), "sources")
        write_report(
            store, matrix.spec, matrix.stage(None), tmp_path / "out", command="c", formats=["md"], fingerprint=None
        )
    assert "target" not in (tmp_path / "out" / "README.md").read_text().replace("training targets", "")
    assert "floor" not in shown
    assert "Adam" not in shown


def test_costs_are_held_against_the_fastest_adam(tmp_path: Path) -> None:
    matrix = matrix_of(tmp_path, SMALL.replace("lr: 0.003", "lr: [0.003, 0.001]"))
    steps = {"adam[lr=0.003]": 0.02, "adam[lr=0.001]": 0.01, "kfac": 0.03}
    with open_store(f"sqlite:///{tmp_path / 'other.sqlite'}") as store:
        for cell in matrix.cells:
            if cell.optimizer in steps:
                records = Records(iterations(10, step=steps[cell.optimizer]), evaluations([40.0, 30.0]), [])
                finished(store, cell, records)
        (board,) = findings(store, matrix.spec, matrix.stage(None), "sources").boards
    ratios = {standing.optimizer: standing.cost_ratio for standing in board.standings if standing.results}
    assert ratios == pytest.approx({"adam[lr=0.003]": 2, "adam[lr=0.001]": 1, "kfac": 3})


def test_costs_are_held_against_adams_at_the_same_batch_size(tmp_path: Path) -> None:
    own = SMALL.replace("method: adam,", "method: adam, batch_size: 32,")
    matrix = matrix_of(tmp_path, own)
    with open_store(f"sqlite:///{tmp_path / 'other.sqlite'}") as store:
        for cell in matrix.cells:
            if cell.optimizer in ("adam", "kfac") and cell.seed == 0:
                finished(store, cell, Records(iterations(10), evaluations([40.0, 30.0]), []))
        (board,) = findings(store, matrix.spec, matrix.stage(None), "sources").boards
    ratios = {standing.optimizer: standing.cost_ratio for standing in board.standings if standing.results}
    assert ratios == {"adam": pytest.approx(1.0), "kfac": None}
    table = tables.times(board)
    assert table.headings[1] == "batch"
    assert {row[0]: row[1] for row in table.rows}["adam"] == "32"
