"""A store is opened, or there is one clear message why not; whatever is wrong with it, it stays whole."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, StatementError

from suite.errors import StoreError
from suite.records import Records
from suite.store import open_store, shown, store_exists
from suite.store.opening import REVISION
from tests.suite.postgres import PASSWORD
from tests.suite.stores import begin, evaluations, iterations, matrix_of, rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from suite.store import Store


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suite.store.store.PATIENCE", 0.0)


def fill(url: str, folder: Path) -> None:
    with open_store(url) as store:
        run = begin(store, matrix_of(folder).cells[0])
        store.append(run, Records(iterations(100), [], []))
        store.flush()
        pages = store.session.connection().exec_driver_sql("PRAGMA page_count").scalar()
        store.session.connection().exec_driver_sql(f"PRAGMA max_page_count = {pages + 1}")
        store.append(run, Records(iterations(50_000, start=101), [], []))
        store.flush()


def test_a_full_database_is_a_clear_error_and_loses_nothing_written(sqlite_url: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="disk is full: free some space"):
        fill(sqlite_url, tmp_path)
    assert rows(sqlite_url, "SELECT count(*) FROM iterations") == [(100,)]
    assert rows(sqlite_url, "PRAGMA integrity_check") == [("ok",)]


@contextmanager
def locked(folder: Path) -> Iterator[sqlite3.Connection]:
    """Another program writes, and does not come to an end."""
    other = sqlite3.connect(folder / "store.sqlite", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    try:
        yield other
    finally:
        other.close()


def hurry(store: Store) -> None:
    store.session.connection().exec_driver_sql("PRAGMA busy_timeout = 50")
    store.session.commit()


@pytest.mark.usefixtures("impatient")
def test_what_could_not_be_written_is_written_by_the_next_flush(sqlite_url: str, tmp_path: Path) -> None:
    with open_store(sqlite_url) as store:
        run = begin(store, matrix_of(tmp_path).cells[0])
        store.append(run, Records(iterations(3), evaluations([1.0]), []))
        hurry(store)
        with locked(tmp_path), pytest.raises(DBAPIError, match="locked"):
            store.flush()
        store.flush()
        store.flush()
    assert rows(sqlite_url, "SELECT count(*) FROM iterations") == [(3,)]
    assert rows(sqlite_url, "SELECT count(*) FROM evaluations") == [(1,)]


def test_a_lock_is_waited_for(sqlite_url: str, tmp_path: Path) -> None:
    with open_store(sqlite_url) as store:
        hurry(store)
        with locked(tmp_path) as other:
            timer = threading.Timer(1.0, other.rollback)
            timer.start()
            run = begin(store, matrix_of(tmp_path).cells[0])
            timer.join()
    assert rows(sqlite_url, "SELECT id, status FROM runs") == [(run, "running")]


def write_into(url: str, folder: Path) -> None:
    with open_store(url) as store, locked(folder):
        hurry(store)
        store.experiment("a", "b")


@pytest.mark.usefixtures("impatient")
def test_a_lock_that_stays_is_a_clear_error(sqlite_url: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="another program holds it locked"):
        write_into(sqlite_url, tmp_path)


def make(path: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


VERSION = "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize(
    ("statements", "message"),
    [
        ([VERSION, "INSERT INTO alembic_version VALUES ('0999')"], "written by a newer kfsvd-bench"),
        ([VERSION, "INSERT INTO alembic_version VALUES ('0000')"], "cannot be brought up to date"),
        (["CREATE TABLE recipes (a)"], r"a database of something else \(tables recipes\)"),
        ([VERSION, f"INSERT INTO alembic_version VALUES ('{REVISION}')"], "no such table: runs"),
    ],
)
def test_a_foreign_database_is_a_clear_error_and_stays_as_it_was(
    sqlite_url: str, tmp_path: Path, statements: list[str], message: str, *, create: bool
) -> None:
    make(tmp_path / "store.sqlite", *statements)
    before = rows(sqlite_url, "SELECT sql FROM sqlite_schema")
    with pytest.raises(StoreError, match=message), open_store(sqlite_url, create=create) as store:
        store.sweep()
    assert rows(sqlite_url, "SELECT sql FROM sqlite_schema") == before


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize("version", ["0999", None])
def test_a_refused_file_stays_as_it_was_byte_for_byte(
    sqlite_url: str, tmp_path: Path, version: str | None, *, create: bool
) -> None:
    file = tmp_path / "store.sqlite"
    newer = [VERSION, f"INSERT INTO alembic_version VALUES ('{version}')"]
    make(file, *(newer if version else ["CREATE TABLE recipes (a)"]))
    before = file.read_bytes()
    for _ in range(2):
        with pytest.raises(StoreError), open_store(sqlite_url, create=create):
            pass
        with pytest.raises(StoreError):
            store_exists(sqlite_url)
    assert file.read_bytes() == before
    assert list(tmp_path.glob("store*")) == [file]


def test_what_is_committed_is_on_the_disk_and_readers_read_meanwhile(sqlite_url: str) -> None:
    for _ in range(2):
        with open_store(sqlite_url) as store:
            connection = store.session.connection()
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2, "FULL: a power cut takes nothing"
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_every_commit_of_records_and_of_an_end_waits_for_the_disk(sqlite_url: str, tmp_path: Path) -> None:
    found: list[int] = []
    with open_store(sqlite_url) as store:
        driver = store.session.connection().connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        connection = store.session.get_bind()

        def look(_: object) -> None:
            found.append(driver.execute("PRAGMA synchronous").fetchone()[0])

        sa.event.listen(connection, "commit", look)
        run = begin(store, matrix_of(tmp_path).cells[0])
        found.clear()
        store.append(run, Records(iterations(3), [], []))
        store.flush()
        assert store.finish(run, "done")
    assert found == [2, 2]


def test_a_claim_that_fails_leaves_the_next_commit_waiting(sqlite_url: str, tmp_path: Path) -> None:
    with open_store(sqlite_url) as store:
        broken = replace(matrix_of(tmp_path).cells[0], seed=object())  # type: ignore[arg-type]
        with pytest.raises(StatementError):
            begin(store, broken)
        assert store.session.connection().exec_driver_sql("PRAGMA synchronous").scalar() == 2


def test_a_run_ends_with_its_last_records_in_one_commit(sqlite_url: str, tmp_path: Path) -> None:
    commits: list[object] = []
    with open_store(sqlite_url) as store:
        run = begin(store, matrix_of(tmp_path).cells[0])
        store.append(run, Records(iterations(3), [], []))
        sa.event.listen(store.session.get_bind(), "commit", commits.append)
        assert store.finish(run, "done")
    assert len(commits) == 1, "each waits for the disk"
    assert rows(sqlite_url, "SELECT status, (SELECT count(*) FROM iterations) FROM runs") == [("done", 3)]


@pytest.mark.parametrize("create", [True, False])
def test_a_file_that_is_no_database_is_a_clear_error(tmp_path: Path, *, create: bool) -> None:
    (tmp_path / "notes.txt").write_text("A file of notes, longer than the header of a database would be.\n" * 20)
    with (
        pytest.raises(StoreError, match="no SQLite database"),
        open_store(f"sqlite:///{tmp_path}/notes.txt", create=create),
    ):
        pass
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match="cannot be opened"), open_store(f"sqlite:///{tmp_path}/folder", create=create):
        pass


def test_an_empty_file_becomes_a_store_but_holds_no_results(sqlite_url: str, tmp_path: Path) -> None:
    (tmp_path / "store.sqlite").touch()
    with pytest.raises(StoreError, match="holds no results"), open_store(sqlite_url, create=False):
        pass
    with open_store(sqlite_url) as store:
        assert store.durations() == {}


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "not a database URL"),
        ("postgresql://host:port/name", "not a database URL"),
        ("nosuchdatabase://host/name", "not a database URL that can be used here"),
        ("mysql://host/name", "not a database URL that can be used here|a store is sqlite:///FILE or postgresql"),
        ("sqlite:///no/such/folder/store.sqlite", "folder no/such/folder of the store does not exist"),
    ],
)
def test_a_url_of_no_use_is_a_clear_error(url: str, message: str) -> None:
    with pytest.raises(StoreError, match=message), open_store(url):
        pass


def test_a_store_whose_creation_was_cut_short_is_created_by_the_next_command(sqlite_url: str) -> None:
    def cut(_c: object, _cu: object, statement: str, *_: object) -> None:
        if "CREATE TABLE evaluations" in statement:
            raise KeyboardInterrupt

    sa.event.listen(sa.Engine, "before_cursor_execute", cut)
    try:
        with pytest.raises(KeyboardInterrupt), open_store(sqlite_url):
            pass
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", cut)
    with open_store(sqlite_url) as store:
        assert store.sweep() == 0


def test_whether_a_store_exists_is_told_without_making_one(sqlite_url: str, tmp_path: Path) -> None:
    assert not store_exists(sqlite_url)
    with pytest.raises(StoreError, match="there is no store at"), open_store(sqlite_url, create=False):
        pass
    assert not (tmp_path / "store.sqlite").exists()
    (tmp_path / "store.sqlite").touch()  # as it is for a moment while another command makes it
    assert not store_exists(sqlite_url)
    with open_store(sqlite_url):
        pass
    assert store_exists(sqlite_url)


@pytest.mark.slow
def test_whether_there_is_a_store_on_a_server_is_told_without_making_one(postgres_url: str) -> None:
    assert not store_exists(postgres_url)
    with pytest.raises(StoreError, match="holds no results") as found, open_store(postgres_url, create=False):
        pass
    assert PASSWORD not in str(found.value)
    assert rows(postgres_url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]
    with open_store(postgres_url):
        pass
    assert store_exists(postgres_url)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("host=", "host=/no/such/folder"), "no server answers there"),
        (("@/", "@localhost:1/"), "no server answers there|there is no such host"),
        ((PASSWORD, "guessed"), "the server refuses this user or password"),
        (("/store_", "/no_such_store_"), "create it, or see the name in the URL"),
    ],
)
def test_a_server_that_cannot_be_used_is_one_line(postgres_url: str, change: tuple[str, str], message: str) -> None:
    url = postgres_url.replace(*change)
    url = url.partition("?")[0] if "localhost" in url else url
    for use in (store_exists, lambda url: open_store(url).__enter__()):
        with pytest.raises(StoreError, match=message) as found:
            use(url)
        assert "\n" not in str(found.value)
        assert PASSWORD not in str(found.value)
        assert "guessed" not in str(found.value)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:///a.sqlite", "sqlite:///a.sqlite"),
        ("postgresql+psycopg://host/name", "postgresql+psycopg://host/name"),
        ("postgresql+psycopg://me:secret@host/name", "postgresql+psycopg://me:***@host/name"),
        ("postgresql+psycopg://me:se@cr:et@host/name", "postgresql+psycopg://me:***@host/name"),
        (
            "postgresql+psycopg://host/name?password=secret&user=me",
            "postgresql+psycopg://host/name?password=***&user=me",
        ),
        ("postgresql://me:secret@host:port/name", "postgresql://me:***@host:port/name"),
        ("postgresql:/me:secret@host", "postgresql:***@host"),
        ("nonsense", "nonsense"),
    ],
)
def test_a_password_is_not_shown(url: str, expected: str) -> None:
    assert shown(url) == expected
