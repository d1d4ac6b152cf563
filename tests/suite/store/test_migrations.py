"""A store that an earlier version wrote is brought up to date with everything that it holds."""

from __future__ import annotations

import contextlib
import json
import math
import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from suite.errors import StoreError
from suite.records import Records
from suite.store import open_store, queries
from suite.store.opening import REVISION
from tests.suite.postgres import PASSWORD
from tests.suite.stores import begin, finished, fisher, iterations, kept, matrix_of, rows

if TYPE_CHECKING:
    from pathlib import Path

NOW = "2026-01-01 00:00:00.000000"
RUN: dict[str, Any] = {
    "experiment_id": 1,
    "environment_id": 1,
    "fingerprint": "sources",
    "dataset": "digits",
    "seed": 0,
    "group_key": "group",
    "status": "done",
    "device": "cpu:0",
    "contended": False,
    "started_at": NOW,
    "heartbeat_at": NOW,
    "owner_host": "here",
    "owner_pid": 1,
}
ERRORS = [  # run, iteration, layer, rank, in batch, held out, and the best of both
    (1, 30, "linear1", 1, 0.2, 0.4, 0.1, 0.3),
    (1, 30, "linear2", 1, None, 0.6, None, 0.5),
    (1, 60, "linear1", 1, 0.3, 0.5, 0.2, 0.4),
    (2, 30, "linear1", 2, 0.1, 0.9, 0.1, 0.2),
]


def insert(connection: sa.Connection, table: str, row: dict[str, Any]) -> None:
    names, places = ", ".join(row), ", ".join(f":{name}" for name in row)
    connection.execute(sa.text(f"INSERT INTO {table} ({names}) VALUES ({places})"), row)


def upgrade(url: str, revision: str) -> None:
    """Bring a store to a schema as it was once."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", "suite.store:migrations")
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()


def filled(url: str) -> str:
    """A store of the first schema with runs of two methods, under labels of the user's own."""
    upgrade(url, "0001")
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        insert(connection, "experiments", {"name": "a", "text_hash": "h", "text": "t", "first_run_at": NOW})
        machine = dict.fromkeys(("content_hash", "host", "cpu", "system", "python", "torch", "blas", "kfsvd"), "x")
        insert(connection, "environments", machine | {"cores": 2})
        for run, method in ((1, "kpsvd"), (2, "kfac_corrected")):
            definition = json.dumps({"method": {"method": method, "lr": 0.1}, "seed": 0})
            names = {"id": run, "cell_key": f"key{run}", "optimizer": "my label", "definition": definition}
            insert(connection, "runs", RUN | names)
        names = ("run_id", "iteration", "layer", "rank", "in_batch", "held_out", "best_in_batch", "best_held_out")
        for row in ERRORS:
            insert(connection, "fisher_errors", dict(zip(names, row, strict=True)))
        if connection.dialect.name == "postgresql":  # which does not count the numbers that rows bring along
            connection.execute(sa.text("SELECT setval('runs_id_seq', 2)"))
    engine.dispose()
    return url


@pytest.fixture
def old(url: str) -> str:
    return filled(url)


@pytest.mark.parametrize("create", [True, False])
def test_fisher_errors_of_the_first_schema_are_those_of_the_runs_method(old: str, *, create: bool) -> None:
    with open_store(old, create=create) as store:
        first, second, third = queries.fisher_errors(store, 1)
        assert first == fisher("linear1", 30, 0.2, 0.4, 0.1, 0.3, approximation="kpsvd")
        assert (second.layer, second.held_out, second.best_held_out) == ("linear2", 0.6, 0.5)
        assert math.isnan(second.in_batch)
        assert math.isnan(second.spectrum)
        assert third == fisher("linear1", 60, 0.3, 0.5, 0.2, 0.4, approximation="kpsvd")
        expected = fisher("linear1", 30, 0.1, 0.9, 0.1, 0.2, approximation="kfac_corrected", rank=2)
        assert queries.fisher_errors(store, 2) == [expected]
        assert {run.id for run in store.measured(["key1", "key2"], "sources").values()} == {1, 2}


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_an_upgraded_store_has_the_tables_of_a_new_one_and_takes_new_runs(old: str, tmp_path: Path) -> None:
    schemas = []
    for place in (old, f"sqlite:///{tmp_path}/new.sqlite"):
        with open_store(place) as store:
            errors = [fisher("linear1", 1, 0.5, 0.6, 0.4, 0.5, approximation=name) for name in ("kfac", "kpsvd")]
            errors += [fisher("linear1", 1, 0.7, 0.8, 0.6, 0.7, own=False)]
            ranks = [kept("linear1", 1, 5, 3)]
            run = finished(store, matrix_of(tmp_path).cells[0], Records(iterations(1), [], errors, ranks))
            assert sorted(queries.fisher_errors(store, run)) == sorted(errors)
            assert queries.inverse_ranks(store, run) == ranks
            connection = store.session.connection()
            assert connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar() == REVISION
            assert connection.execute(sa.text("PRAGMA foreign_key_check")).all() == []
            query = "SELECT name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite%' ORDER BY name"
            schemas.append(connection.execute(sa.text(query)).all())
    assert schemas[0] == schemas[1]


@pytest.mark.parametrize("create", [True, False])
def test_runs_of_the_second_schema_keep_what_they_have_and_have_no_ranks(old: str, *, create: bool) -> None:
    upgrade(old, "0002")
    with open_store(old, create=create) as store:
        assert len(queries.fisher_errors(store, 1)) == 3
        assert queries.inverse_ranks(store, 1) == []
        assert queries.inverse_ranks(store, 2) == []


def test_an_upgrade_that_is_cut_short_leaves_the_store_as_it_was(old: str) -> None:
    def cut(_c: object, _cu: object, statement: str, *_: object) -> None:
        if statement.strip().startswith("DROP TABLE"):
            raise KeyboardInterrupt

    sa.event.listen(sa.Engine, "before_cursor_execute", cut)
    try:
        with pytest.raises(KeyboardInterrupt), open_store(old):
            pass
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", cut)
    engine = sa.create_engine(old)
    with engine.connect() as connection:
        kept = connection.execute(sa.text("SELECT * FROM fisher_errors ORDER BY run_id, iteration, layer")).all()
        assert "fisher_errors_0002" not in sa.inspect(connection).get_table_names()
    engine.dispose()
    assert [tuple(row) for row in kept] == ERRORS
    with open_store(old) as store:
        assert len(queries.fisher_errors(store, 1)) == 3


def test_a_copy_of_an_older_store_lies_beside_it(
    sqlite_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = filled(sqlite_url)
    with contextlib.closing(sqlite3.connect(tmp_path / "store.sqlite")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("UPDATE experiments SET name = 'in the log'")
        connection.commit()
        with open_store(old):
            pass
    copy = tmp_path / "store.schema-0001.sqlite"
    assert rows(f"sqlite:///{copy}", "SELECT version_num, name FROM alembic_version, experiments") == [
        ("0001", "in the log")
    ]
    assert rows(f"sqlite:///{copy}", "PRAGMA integrity_check") == [("ok",)]
    assert rows(f"sqlite:///{copy}", "SELECT * FROM fisher_errors ORDER BY run_id, iteration, layer") == ERRORS
    assert f"is brought from schema 0001 to {REVISION}; a copy of how it was is {copy}" in capsys.readouterr().err
    copy.unlink()
    with open_store(old):
        pass
    assert not copy.exists(), "nothing is copied where nothing is changed"
    assert {path.name for path in tmp_path.iterdir()} == {"store.sqlite"}


def test_a_new_store_needs_no_copy(sqlite_url: str, tmp_path: Path) -> None:
    with open_store(sqlite_url):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"store.sqlite"}


def test_without_a_copy_nothing_is_changed(sqlite_url: str, tmp_path: Path) -> None:
    old = filled(sqlite_url)
    (tmp_path / "store.schema-0001.sqlite").mkdir()
    with pytest.raises(StoreError, match=r"is copied to .* before it is changed, which fails"), open_store(old):
        pass
    assert rows(old, "SELECT version_num FROM alembic_version") == [("0001",)]
    assert not (tmp_path / "store.schema-0001.sqlite.part").exists()


@pytest.mark.slow
def test_on_a_server_no_copy_is_made_and_that_is_said(postgres_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with open_store(filled(postgres_url)):
        pass
    said = capsys.readouterr().err
    assert "no copy was made; pg_dump makes one" in said
    assert PASSWORD not in said


def test_of_several_runs_of_a_cell_left_running_the_newest_keeps_its_status(old: str) -> None:
    upgrade(old, "0004")
    engine = sa.create_engine(old)
    with engine.begin() as connection:
        for run, key in ((11, "same"), (12, "same"), (13, "other")):
            names = {"id": run, "cell_key": key, "optimizer": "label", "definition": "{}", "status": "running"}
            insert(connection, "runs", RUN | names)
    engine.dispose()
    with open_store(old):
        pass
    found = rows(old, "SELECT id, status FROM runs WHERE id > 10 ORDER BY id")
    assert found == [(11, "interrupted"), (12, "running"), (13, "running")]
    assert rows(old, "SELECT count(*) FROM runs WHERE id = 11 AND ended_at = heartbeat_at") == [(1,)]


def test_numbers_beyond_four_bytes_are_stored(old: str, tmp_path: Path) -> None:
    with open_store(old) as store:
        cell = replace(matrix_of(tmp_path).cells[0], seed=2**32 - 1)
        run = begin(store, cell)
        store.finish(run, "done", peak_memory=2**36)
    assert rows(old, f"SELECT seed, peak_memory_bytes FROM runs WHERE id = {run}") == [(2**32 - 1, 2**36)]
    assert rows(old, "SELECT memory_bytes FROM environments WHERE memory_bytes > 0") == [(24 * 2**30,)]
