"""A spec that compresses through the command line: run, resumed, reported, exported, merged."""

from __future__ import annotations

import csv
import json
import re
import sqlite3
from typing import TYPE_CHECKING

import pytest

import suite
from suite.records import Compressed, Records
from suite.store import open_store
from suite.store.merging import fold
from tests.suite.compressing import COMPRESSING, METHODS
from tests.suite.helpers import bench, write_spec
from tests.suite.stores import begin, evaluations, finished, iterations, matrix_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the networks of Adam are compressed, once for all tests here."""
    folder = tmp_path_factory.mktemp("compressed")
    write_spec(folder, COMPRESSING)
    done = bench(folder, "run", "small.yaml", "--devices", "sim:2", "--select", "optimizer=adam")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^digits: low rank, training loss by the share of the weights that is left\n", done.stdout, re.M)
    return folder


def rows(folder: Path, query: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(folder / "kfsvd-bench.sqlite") as connection:
        return connection.execute(query).fetchall()


def test_every_cell_has_its_ratios(measured: Path) -> None:
    found = rows(
        measured,
        "SELECT compression, ratio, iteration, count(*), count(c.train_loss) FROM compressions c "
        "JOIN runs ON runs.id = run_id GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
    )
    assert found == [(m, r, i, 2, 2) for m in sorted(METHODS) for r in (0.4, 1.0) for i in (0, 10)]
    assert rows(measured, "SELECT status, count(*) FROM runs GROUP BY 1") == [("done", 2 + 2 * len(METHODS))]


def test_all_compress_the_very_same_network(measured: Path) -> None:
    trained = "SELECT runs.seed, train_loss FROM evaluations JOIN runs ON runs.id = run_id WHERE iteration = 60"
    same = "SELECT runs.seed, c.train_loss FROM compressions c JOIN runs ON runs.id = run_id"
    assert set(rows(measured, trained)) == set(rows(measured, f"{same} WHERE ratio = 1 AND iteration = 0"))
    assert len(set(rows(measured, trained))) == 2


def test_numbers_are_numbers_and_the_views_are_of_training_alone(measured: Path) -> None:
    kinds = ", ".join(f"typeof({name})" for name in ("ratio", "iteration", "parameters", "train_loss", "test_loss"))
    assert rows(measured, f"SELECT DISTINCT {kinds} FROM compressions") == [
        ("real", "integer", "integer", "real", "real")
    ]
    assert rows(measured, "SELECT optimizer, seeds FROM leaderboard") == [("adam", 2)]
    assert rows(measured, "SELECT count(DISTINCT run) FROM curves") == [(2,)]


def test_nothing_is_measured_twice_and_a_new_method_alone(measured: Path, tmp_path: Path) -> None:
    again = bench(measured, "run", "small.yaml", "--devices", "sim:1", "--select", "compression=svd|rows")
    assert again.returncode == 0
    assert "4 of 4 cells are measured already" in again.stdout
    assert "Measuring" not in again.stdout
    text = (measured / "small.yaml").read_text() + "    columns: {method: magnitude, structure: column}\n"
    plan = json.loads(bench(measured, "plan", write_spec(tmp_path, text), "--json").stdout)
    left = {row["optimizer"]: row["cells"] - row["measured"] for row in plan["groups"]}
    assert {name: n for name, n in left.items() if "of adam" in name and n} == {"columns of adam": 2}
    status = json.loads(bench(measured, "status", "small.yaml", "--select", "optimizer=adam", "--json").stdout)
    assert status["states"] == {"done": 2 + 2 * len(METHODS)}


def test_what_one_of_them_has_printed_is_asked_for_by_its_method(measured: Path) -> None:
    one = bench(measured, "logs", "compression=svd,seed=0")
    assert one.returncode == 0, one.stderr
    assert one.stdout.startswith("svd of adam × digits × seed 0 (key ")
    several = bench(measured, "logs", "optimizer=adam,seed=0")
    assert several.returncode == 2
    assert all(f"  {method} of adam × digits × seed 0" in several.stderr for method in METHODS)


def test_the_report_says_what_the_store_holds(measured: Path) -> None:
    kinds = [option for kind in ("md", "html", "csv", "json", "latex") for option in ("--format", kind)]
    done = bench(measured, "report", "small.yaml", *kinds)
    assert done.returncode == 0, done.stderr
    folder = measured / "results" / "small"
    page = (folder / "README.md").read_text()
    means = dict(
        rows(
            measured,
            "SELECT compression, avg(c.train_loss) FROM compressions c JOIN runs ON runs.id = run_id "
            "WHERE ratio = 0.4 AND iteration = 10 GROUP BY 1",
        )
    )
    tables = re.findall(r"Training loss after 10 iterations of fine-tuning:\n\n(.*?)\n\n", page, re.DOTALL)
    said = {
        cells[1].strip(): cells[3].split()[0] for t in tables for cells in (row.split("|") for row in t.split("\n")[2:])
    }
    assert said.keys() == means.keys() == set(METHODS)
    for name, mean in said.items():
        assert float(mean) == pytest.approx(means[name], abs=0.51 * 10 ** -len(mean.partition(".")[2]))
    for picture in re.findall(r"\]\((digits-compression[^)]+\.png)\)", page):
        assert (folder / picture).read_bytes().startswith(b"\x89PNG")
    assert page.count("digits-compression-") == 3
    assert "surgeon-kpsvd" in (folder / "report.html").read_text()
    table = list(csv.DictReader((folder / "compressions.csv").read_text().splitlines()))
    document = json.loads((folder / "report.json").read_text())["compressions"]
    assert len(table) == len(document) == 2 * 4 * len(METHODS)
    assert {row["compression"] for row in document} == set(METHODS)


def test_tidy_tables_tell_compressions_from_training(measured: Path) -> None:
    frames = suite.load(measured / "kfsvd-bench.sqlite")
    assert len(frames.compressions) == 2 * 4 * len(METHODS)
    assert frames.compressions["ratio"].dtype == "float64"
    assert frames.runs["compression"].isna().sum() == 2
    assert set(frames.evaluations[frames.evaluations["compression"].isna()]["run"]) == set(
        frames.runs[frames.runs["compression"].isna()]["run"]
    )


def row(ratio: float, iteration: int) -> Compressed:
    return Compressed(ratio, iteration, 1000, 20.0 / ratio - iteration, float("nan"))


def test_an_interrupted_cell_is_merged_once_and_goes_on(tmp_path: Path) -> None:
    """Rows do not come in the order of their iterations: a later ratio starts at 0 again."""
    (cell, *_) = matrix_of(tmp_path, COMPRESSING).stage(None).compressions
    there, here = (f"sqlite:///{tmp_path}/{name}.sqlite" for name in ("there", "here"))
    with open_store(there) as source, open_store(here) as target:
        run = begin(source, cell)
        source.append(run, Records(iterations(3), evaluations([40.0]), [], compressed=[row(1.0, 0), row(1.0, 10)]))
        source.flush()
        assert fold(source, target, source_url=there, target_url=here).records == 6
        source.append(run, Records([], [], [], compressed=[row(0.4, 0), row(0.4, 10)]))
        source.finish(run, "done")
        assert fold(source, target, source_url=there, target_url=here).records == 2
        assert fold(source, target, source_url=there, target_url=here).records == 0
    with sqlite3.connect(tmp_path / "here.sqlite") as connection:
        found = connection.execute("SELECT ratio, iteration, train_loss, test_loss FROM compressions ORDER BY 1, 2")
        assert found.fetchall() == [
            (0.4, 0, 50.0, None),
            (0.4, 10, 40.0, None),
            (1.0, 0, 20.0, None),
            (1.0, 10, 10.0, None),
        ]


def test_a_run_that_diverged_in_training_is_a_gap(tmp_path: Path) -> None:
    from suite.report.collect import findings

    matrix = matrix_of(tmp_path, COMPRESSING)
    with open_store(f"sqlite:///{tmp_path}/made-up.sqlite") as store:
        first, second, *_ = matrix.stage(None).compressions
        finished(store, first, Records(iterations(3), evaluations([40.0]), []), "diverged")
        finished(store, second, Records(iterations(3), evaluations([40.0]), [], compressed=[row(0.4, 0)]))
        found = findings(store, matrix.spec, matrix.stage(None), None)
    assert found.boards == []
    assert [gap.state for gap in found.gaps if gap.cell.key == first.key] == ["diverged"]
    assert [[result.cell.key for result in kind.results] for kind in found.compressions] == [[second.key]]
    assert (found.cells, found.measured) == (8 + 2 * len(METHODS), 2)
