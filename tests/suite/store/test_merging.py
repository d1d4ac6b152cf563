"""Stores that are folded into one: every run once, however often and in whatever order."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from suite.errors import StoreError
from suite.records import Records
from suite.report import write_report
from suite.store import RunRow, open_store, queries
from suite.store.merging import Folded, fold, open_source
from suite.store.opening import REVISION
from tests.suite.helpers import DEADLINE, SMALL, bench, command, environment
from tests.suite.store.test_migrations import upgrade
from tests.suite.stores import MACHINE, begin, evaluations, finished, fisher, iterations, kept, matrix_of

if TYPE_CHECKING:
    from suite.cell import Cell
    from suite.store import Store

PATHS = {"PYTHONPATH": str(Path(__file__).parents[3])}
TABLES = ("experiments", "environments", "runs", "iterations", "evaluations", "fisher_errors", "inverse_ranks")


def url(folder: Path, name: str) -> str:
    return f"sqlite:///{folder}/{name}.sqlite"


def rows(folder: Path, name: str, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(folder / f"{name}.sqlite")) as connection:
        return connection.execute(query).fetchall()


def content(folder: Path, name: str) -> dict[str, list[tuple[Any, ...]]]:
    """All that a store holds, with what numbers refer to in place of them."""
    run = "(SELECT cell_key || started_at FROM runs WHERE id = {0}.run_id)"
    texts = {
        "experiments": "SELECT name, text_hash, text, first_run_at FROM experiments",
        "environments": "SELECT * FROM environments",
        "runs": "SELECT runs.*, text_hash, content_hash FROM runs JOIN experiments e ON e.id = experiment_id "
        "JOIN environments n ON n.id = environment_id",
    }
    found = {}
    for table in TABLES:
        query = texts.get(table, f"SELECT {run.format(table)}, * FROM {table}")
        with closing(sqlite3.connect(folder / f"{name}.sqlite")) as connection:
            cursor = connection.execute(query)
            kept = [i for i, column in enumerate(cursor.description) if not column[0].endswith("id")]
            found[table] = sorted(tuple(row[i] for i in kept) for row in cursor) or []
    return found


def records(cell: Cell, count: int = 40) -> Records:
    """Of a length and losses of their own, in every table."""
    loss = 20.0 + int(cell.key[:2], 16) / 10
    errors = [fisher("linear1", 20, 0.5, 0.6, 0.4, 0.45)]
    return Records(iterations(count, loss=loss), evaluations([loss, loss / 2, loss / 4]), errors, [kept("a", 20, 5, 3)])


def merge(folder: Path, *names: str, into: str = "target") -> list[Folded]:
    found = []
    with open_store(url(folder, into)) as target:
        for name in names:
            with open_source(url(folder, name)) as source:
                found.append(fold(source, target, source_url=url(folder, name), target_url=url(folder, into)))
    return found


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """A store of all cells, and three that hold its runs between them, some of them twice."""
    matrix = matrix_of(tmp_path)
    with open_store(url(tmp_path, "whole")) as store:
        for cell in matrix.cells:
            finished(store, cell, records(cell), fingerprint=matrix.fingerprint or "")
    for name, which in (("one", "id % 2 = 0"), ("two", "id % 2 = 1"), ("three", "id < 4")):
        shutil.copy(tmp_path / "whole.sqlite", tmp_path / f"{name}.sqlite")
        with closing(sqlite3.connect(tmp_path / f"{name}.sqlite")) as connection:
            for table in TABLES[3:]:
                connection.execute(f"DELETE FROM {table} WHERE run_id NOT IN (SELECT id FROM runs WHERE {which})")
            connection.execute(f"DELETE FROM runs WHERE NOT ({which})")
            connection.commit()
    return tmp_path


@pytest.mark.parametrize("order", [("one", "two", "three"), ("three", "two", "one")])
def test_parts_make_the_whole_in_any_order_and_again_nothing_more(parts: Path, order: tuple[str, ...]) -> None:
    first = merge(parts, *order)
    assert sum(folded.added for folded in first) == 8
    whole = content(parts, "whole")
    assert content(parts, "target") == whole
    assert all(whole[table] for table in TABLES)
    again = merge(parts, *order, "whole")
    assert {(folded.added, folded.advanced, folded.records) for folded in again} == {(0, 0, 0)}
    assert content(parts, "target") == whole
    assert rows(parts, "target", "PRAGMA foreign_key_check") == []


def test_a_report_of_the_parts_is_that_of_the_whole(parts: Path) -> None:
    merge(parts, "two", "one", "three")
    texts = []
    for name in ("whole", "target"):
        with open_store(url(parts, name)) as store:
            matrix = matrix_of(parts)
            folder = parts / f"report-{name}"
            options = {"command": "run", "formats": ["md"], "fingerprint": matrix.fingerprint}
            write_report(store, matrix.spec, matrix.stage(store), folder, **options)
        text = (parts / f"report-{name}" / "README.md").read_text()
        texts.append(text.partition("Every run")[0])  # what follows has the numbers that runs have in each store
    assert texts[0] == texts[1]
    assert "kpsvd" in texts[0]


def test_of_two_results_of_a_cell_the_later_counts_whichever_is_merged_first(tmp_path: Path) -> None:
    cell = matrix_of(tmp_path).cells[0]
    now = dt.datetime.now(dt.UTC)
    for name, hours in (("newer", 0), ("older", 5)):
        with open_store(url(tmp_path, name)) as store:
            run = finished(store, cell, Records(iterations(3), evaluations([1.0 + hours]), []))
            store._update(run, started_at=now - dt.timedelta(hours=hours))
    for order in (("newer", "older"), ("older", "newer")):
        (tmp_path / "target.sqlite").unlink(missing_ok=True)
        assert [folded.added for folded in merge(tmp_path, *order)] == [1, 1]
        with open_store(url(tmp_path, "target")) as store:
            run = store.measured([cell.key], "sources")[cell.key].id
            assert list(queries.evaluations(store, run).train_loss) == [1.0]


def at_work(store: Store, cell: Cell) -> int:
    run = begin(store, cell)
    store.append(run, Records(iterations(20), evaluations([9.0, 8.0]), []))
    store.flush()
    return run


def test_a_run_at_work_is_added_as_far_as_it_is_and_brought_further_later(tmp_path: Path) -> None:
    cell = matrix_of(tmp_path).cells[0]
    with open_store(url(tmp_path, "shard")) as store:
        run = at_work(store, cell)
        assert merge(tmp_path, "shard") == [Folded(1, 0, 0, 22)]
        assert rows(tmp_path, "target", "SELECT status, ended_at = heartbeat_at FROM runs") == [("interrupted", 1)]
        assert rows(tmp_path, "shard", "SELECT status FROM runs") == [("running",)], "a source is only read"
        shutil.copy(tmp_path / "target.sqlite", tmp_path / "early.sqlite")
        store.append(
            run, Records(iterations(15, start=21), evaluations([9.0, 8.0, 7.0])[2:], [fisher("a", 30, 1, 1, 1, 1)])
        )
        store.finish(run, "done")
    assert merge(tmp_path, "shard") == [Folded(0, 1, 0, 17)]
    assert content(tmp_path, "target") == content(tmp_path, "shard")
    assert merge(tmp_path, "early") == [Folded(0, 0, 1, 0)], "an earlier copy takes nothing away"
    assert content(tmp_path, "target") == content(tmp_path, "shard")


def test_no_result_is_lost_to_a_clock_that_was_set_back(tmp_path: Path) -> None:
    cell = matrix_of(tmp_path).cells[0]
    with open_store(url(tmp_path, "shard")) as store:
        run = at_work(store, cell)
        merge(tmp_path, "shard")
        store.finish(run, "done")
        store._update(run, heartbeat_at=dt.datetime(2001, 1, 1, tzinfo=dt.UTC))
    assert merge(tmp_path, "shard") == [Folded(0, 1, 0, 0)]
    assert rows(tmp_path, "target", "SELECT status FROM runs") == [("done",)]


@pytest.mark.parametrize("order", [("done", "error"), ("error", "done")])
def test_of_two_ends_of_a_run_the_result_counts_whichever_is_merged_first(
    tmp_path: Path, order: tuple[str, str]
) -> None:
    """A job was given up by the command that waited for it, and had a result all the same."""
    with open_store(url(tmp_path, "shard")) as store:
        run = at_work(store, matrix_of(tmp_path).cells[0])
    for status, minutes in (("done", 0), ("error", 5)):
        shutil.copy(tmp_path / "shard.sqlite", tmp_path / f"{status}.sqlite")
        with open_store(url(tmp_path, status)) as store:
            later = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=minutes)
            store._update(run, status=status, ended_at=later, heartbeat_at=later)
    merge(tmp_path, *order)
    assert rows(tmp_path, "target", "SELECT status FROM runs") == [("done",)]


def test_the_same_machine_and_text_are_there_once_and_others_beside_them(tmp_path: Path) -> None:
    cells = matrix_of(tmp_path).cells
    for name, machine, text in (("a", MACHINE, SMALL), ("b", replace(MACHINE, torch="3.0"), SMALL + "# more\n")):
        with open_store(url(tmp_path, name)) as store:
            for unused in range(3 if name == "b" else 0):  # numbers that are others than the target's
                store.environment(replace(machine, host=f"other {unused}"))
            finished(store, cells[0], records(cells[0]))
            environment, experiment = store.environment(machine), store.experiment("small", text)
            run = finished(store, cells[1], records(cells[1]))
            store._update(run, environment_id=environment, experiment_id=experiment)
    merge(tmp_path, "a", "b")
    query = (
        "SELECT e.torch, x.text LIKE '%more%' FROM runs JOIN environments e ON e.id = environment_id "
        "JOIN experiments x ON x.id = experiment_id WHERE cell_key = '{}' ORDER BY 1"
    )
    assert rows(tmp_path, "target", query.format(cells[1].key)) == [("2.13", 0), ("3.0", 1)]
    assert rows(tmp_path, "target", query.format(cells[0].key)) == [("2.13", 0), ("2.13", 0)]
    assert rows(tmp_path, "target", "SELECT count(*) FROM experiments") == [(2,)]
    assert rows(tmp_path, "target", "SELECT count(*) FROM environments") == [(5,)]


def test_a_merge_that_is_cut_short_goes_on_where_it_was(parts: Path) -> None:
    seen = 0

    def cut(_c: object, _cu: object, statement: str, *_: object) -> None:
        nonlocal seen
        seen += statement.startswith("INSERT INTO evaluations")
        if seen == 3:
            raise KeyboardInterrupt

    sa.event.listen(sa.Engine, "before_cursor_execute", cut)
    try:
        with pytest.raises(KeyboardInterrupt):
            merge(parts, "whole")
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", cut)
    assert rows(parts, "target", "SELECT count(*) FROM runs") == [(2,)], "none in part"
    assert merge(parts, "whole") == [Folded(6, 0, 2, 6 * 45)]
    assert content(parts, "target") == content(parts, "whole")


def test_two_merges_at_once_add_every_run_once(parts: Path) -> None:
    merges = [
        subprocess.Popen(command("merge", "whole.sqlite", "one.sqlite"), cwd=parts, env=environment(parts) | PATHS)
        for _ in range(2)
    ]
    assert [process.wait(DEADLINE) for process in merges] == [0, 0]
    shutil.move(parts / "kfsvd-bench.sqlite", parts / "target.sqlite")
    assert content(parts, "target") == content(parts, "whole")


def test_an_older_store_is_read_through_a_copy_and_stays_as_it_is(tmp_path: Path) -> None:
    old(tmp_path)
    before = (tmp_path / "old.sqlite").read_bytes()
    (folded,) = merge(tmp_path, "old")
    assert folded.added == 1
    assert (tmp_path / "old.sqlite").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["old.sqlite", "small.yaml", "target.sqlite"]
    assert merge(tmp_path, "old") == [Folded(0, 0, 1, 0)]


def old(folder: Path) -> None:
    """A store of the first schema."""
    cell = matrix_of(folder).cells[0]
    upgrade(url(folder, "old"), "0001")
    with open_store(url(folder, "new")) as store:
        finished(store, cell, Records(iterations(3), [], []))
    with closing(sqlite3.connect(folder / "old.sqlite")) as connection:
        connection.execute("ATTACH ? AS new", (str(folder / "new.sqlite"),))
        for table in TABLES[:5]:
            names = ", ".join(f'"{row[1]}"' for row in connection.execute(f"PRAGMA main.table_info({table})"))
            connection.execute(f"INSERT INTO main.{table} ({names}) SELECT {names} FROM new.{table}")
        connection.commit()
    (folder / "new.sqlite").unlink()


def test_stores_that_cannot_be_read_are_named(parts: Path) -> None:
    (parts / "text.sqlite").write_text("no database at all, however long it may be\n" * 50)
    shutil.copy(parts / "one.sqlite", parts / "newer.sqlite")
    shutil.copy(parts / "one.sqlite", parts / "damaged.sqlite")
    for name, change in (
        ("newer", "UPDATE alembic_version SET version_num = '9999'"),
        ("damaged", "UPDATE runs SET heartbeat_at = 'yesterday'"),
    ):
        with closing(sqlite3.connect(parts / f"{name}.sqlite")) as connection:
            connection.execute(change)
            connection.commit()
    for name, message in (
        ("absent", "there is no store at .*absent.sqlite"),
        ("text", "text.sqlite.*no SQLite database"),
        ("newer", f"newer.sqlite was written by a newer kfsvd-bench .schema 9999, this one reads {REVISION}"),
        ("damaged", "damaged.sqlite: holds what no run has written"),
    ):
        with pytest.raises(StoreError, match=message):
            merge(parts, name)
    assert rows(parts, "target", "SELECT count(*) FROM runs") == [(0,)]


def test_a_target_that_cannot_be_written_is_named_and_not_the_source(parts: Path) -> None:
    with open_store(url(parts, "target")) as target, open_source(url(parts, "whole")) as source:
        target.session.connection().exec_driver_sql("PRAGMA query_only = 1")
        with pytest.raises(StoreError, match=r"target\.sqlite: .*readonly"):
            fold(source, target, source_url=url(parts, "whole"), target_url=url(parts, "target"))


def test_the_command(parts: Path) -> None:
    done = bench(parts, "merge", "one.sqlite", url(parts, "two"), "--db", "sqlite:///all.sqlite")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "sqlite:///one.sqlite: 4 runs added, 0 known already, 180 records"
    assert (
        done.stdout.splitlines()[-1] == "In all, 8 runs added, 0 known already, 360 records into sqlite:///all.sqlite"
    )
    done = bench(parts, "merge", "one.sqlite", "three.sqlite", "--db", "sqlite:///all.sqlite", "--json")
    found = json.loads(done.stdout)
    assert (found["added"], found["known"]) == (0, 7)
    assert found["stores"]["sqlite:///three.sqlite"] == {"added": 0, "advanced": 0, "known": 3, "records": 0}
    with open_store(url(parts, "all")) as store:
        assert store.session.scalar(sa.select(sa.func.count(RunRow.id))) == 8
    done = bench(parts, "merge", "one.sqlite", "all.sqlite", "--db", "sqlite:///all.sqlite")
    assert (done.returncode, done.stderr) == (
        2,
        "kfsvd-bench: sqlite:///all.sqlite is the store to merge into: leave it out\n",
    )


def test_merging_stores_without_a_run_measures_nothing(tmp_path: Path) -> None:
    with open_store(url(tmp_path, "empty")):
        pass
    done = bench(tmp_path, "merge", "empty.sqlite")
    assert done.returncode == 4, done.stderr
