"""The views of a store say what its report says, and mix nothing that must not be mixed."""

from __future__ import annotations

import math
import re
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from suite.records import Records
from suite.report.collect import findings
from suite.store import open_store
from tests.suite.helpers import SMALL
from tests.suite.store.test_migrations import upgrade
from tests.suite.stores import begin, evaluations, finished, iterations, matrix_of

if TYPE_CHECKING:
    from suite.cell import Cell
    from suite.store import Store

FOUR = SMALL.replace("seeds: [0, 1]", "seeds: [0, 1, 2, 3]")


def rows(folder: Path, query: str) -> list[dict[str, Any]]:
    """As any SQLite tool reads them."""
    connection = sqlite3.connect(folder / "store.sqlite")
    connection.row_factory = sqlite3.Row
    try:
        return [dict(row) for row in connection.execute(query)]
    finally:
        connection.close()


def done(store: Store, cell: Cell, last: float, step: float = 0.01, **options: Any) -> int:
    return finished(store, cell, Records(iterations(60, step=step), evaluations([40.0, last]), []), **options)


def test_the_leaderboard_is_the_reports(tmp_path: Path) -> None:
    matrix = matrix_of(tmp_path, FOUR)
    with open_store(f"sqlite:///{tmp_path}/store.sqlite") as store:
        for cell in matrix.cells:
            step = 0.01 * (1 + (7 * cell.seed) % 4) ** 2
            if (cell.optimizer, cell.seed) == ("sgd", 2):
                finished(store, cell, Records(iterations(7), evaluations([40.0, 1.0]), []), "diverged")
            elif (cell.optimizer, cell.seed) == ("adam", 3):
                finished(store, cell, Records(iterations(7), [], []), "error")
            elif cell.optimizer == "kfac":
                finished(store, cell, Records([], evaluations([40.0]), []), "diverged")
            else:
                done(store, cell, 99.0)
                done(store, cell, 15 + len(cell.optimizer) + 0.3 * cell.seed, step)
                begin(store, cell)
        (board,) = findings(store, matrix.spec, matrix.stage(None), "sources").boards
    found = {row["optimizer"]: row for row in rows(tmp_path, "SELECT * FROM leaderboard")}
    assert len(found) == 4
    for standing in board.standings:
        row = found[standing.optimizer]
        measured = {
            "train_loss_mean": standing.train_loss.mean,
            "test_loss_mean": standing.test_loss.mean,
            "train_loss_min": min(
                (r.evaluations.train_loss[-1] for r in standing.results if r.run.status == "done"), default=math.nan
            ),
            "seconds_per_iteration": standing.seconds_per_iteration,
        }
        shown = {name: math.nan if row[name] is None else row[name] for name in measured}
        assert shown == pytest.approx(measured, nan_ok=True), standing.optimizer
        assert (row["seeds"], row["diverged"]) == (len(standing.results), standing.diverged)
        assert (row["experiment"], row["sources"], row["dataset"]) == ("small", "sources", "digits")
        assert (row["environments"], row["contended"], row["problem"]) == (1, 0, "digits")
        assert row["last_run"].startswith("20")
    assert found["kpsvd"]["test_loss_min"] == found["kpsvd"]["train_loss_min"] + 1
    assert found["adam"]["seeds"] == 3
    assert {name: row["iterations"] for name, row in found.items()} == {
        "sgd": 60,
        "adam": 60,
        "kfac": None,
        "kpsvd": 60,
    }
    assert found["sgd"]["seconds_per_iteration"] == pytest.approx(0.025), "the median of 1, 1, 4 and 16 hundredths"


def test_nothing_is_averaged_that_differs_in_more_than_its_seed(tmp_path: Path) -> None:
    """One label with two settings, two versions of the sources, two experiments, and data that stood in for others."""
    matrix, other = (matrix_of(tmp_path, text) for text in (SMALL, SMALL.replace("lr: 0.003", "lr: 0.001")))
    with open_store(f"sqlite:///{tmp_path}/store.sqlite") as store:
        first, second = (cell for cell in matrix.cells if cell.optimizer == "adam")
        done(store, first, 10.0)
        done(store, second, 20.0)
        done(store, next(cell for cell in other.cells if cell.optimizer == "adam"), 30.0)
        done(store, second, 40.0, fingerprint="older")
        run = done(store, next(cell for cell in matrix.cells if cell.optimizer == "sgd"), 50.0)
        store._update(run, experiment_id=store.experiment("another", "text"))
        run = done(store, [cell for cell in matrix.cells if cell.optimizer == "sgd"][1], 60.0)
        store._update(run, problem="digits-synthetic")
    query = "SELECT train_loss_mean, seeds FROM leaderboard ORDER BY train_loss_mean"
    assert [tuple(row.values()) for row in rows(tmp_path, query)] == [(15, 2), (30, 1), (40, 1), (50, 1), (60, 1)]
    assert len({row["setting"] for row in rows(tmp_path, "SELECT * FROM leaderboard WHERE optimizer = 'adam'")}) == 2


def test_curves_are_the_evaluations_of_the_latest_results(tmp_path: Path) -> None:
    first, second = (cell for cell in matrix_of(tmp_path).cells if cell.optimizer == "kfac")
    with open_store(f"sqlite:///{tmp_path}/store.sqlite") as store:
        done(store, first, 99.0)
        run = done(store, first, 20.0)
        finished(store, first, Records(iterations(2), evaluations([40.0]), []), "error")
        finished(store, second, Records(iterations(7), evaluations([40.0]), []), "diverged")
    found = rows(tmp_path, "SELECT * FROM curves ORDER BY seed, iteration")
    assert [(row["seed"], row["status"], row["iteration"], row["train_loss"], row["test_loss"]) for row in found] == [
        (0, "done", 0, 40.0, 41.0),
        (0, "done", 20, 20.0, 21.0),
        (1, "diverged", 0, 40.0, 41.0),
    ]
    assert {row["run"] for row in found if row["seed"] == 0} == {run}
    assert (found[1]["seconds"], found[1]["cpu_seconds"]) == pytest.approx((0.2, 0.4))
    assert list(found[0])[:7] == ["experiment", "sources", "dataset", "problem", "optimizer", "setting", "seed"]


def test_the_query_of_the_guide_is_answered(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[3] / "docs" / "benchmark.md").read_text()
    (query,) = re.findall(r'^sqlite3 .*? "(SELECT.*?)"$', guide, re.MULTILINE | re.DOTALL)
    with open_store(f"sqlite:///{tmp_path}/store.sqlite") as store:
        done(store, matrix_of(tmp_path).cells[0], 20.0)
    (row,) = rows(tmp_path, query.replace("quickstart", "small"))
    assert (row["dataset"], row["optimizer"], row["seeds"], row["train_loss_mean"]) == ("digits", "sgd", 1, 20.0)


def test_a_store_of_an_earlier_schema_gets_them(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.sqlite"
    upgrade(url, "0003")
    assert rows(tmp_path, "SELECT name FROM sqlite_schema WHERE type = 'view'") == []
    with open_store(url, create=False) as store:
        assert sorted(sa.inspect(store.session.connection()).get_view_names()) == ["curves", "leaderboard"]


def test_no_view_scans_the_iterations(tmp_path: Path) -> None:
    """The leaderboard of a store with a million iterations looks up the last of each run."""
    with open_store(f"sqlite:///{tmp_path}/store.sqlite") as store:
        done(store, matrix_of(tmp_path).cells[0], 20.0)
    plan = rows(tmp_path, "EXPLAIN QUERY PLAN SELECT * FROM leaderboard")
    touched = [row["detail"] for row in plan if row["detail"].split()[1] in ("iterations", "i", "evaluations", "e")]
    assert len(touched) == 4
    assert all(detail.startswith("SEARCH") for detail in touched), plan
