"""Opening a store: its engine, its schema, and clear errors where it cannot be used."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, StatementError

from suite.errors import StoreError
from suite.store.backup import back_up
from suite.store.damage import misfit
from suite.store.disk import WAITING
from suite.store.faults import translated
from suite.store.store import Store
from suite.store.urls import shown, sqlite_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Connection, Engine

REVISION = "0007"
"""The schema that this program reads and writes: the newest migration."""

_CONNECT_SECONDS = 10
"""How long a server may take to answer, unless the URL says otherwise with ?connect_timeout=."""

_MIGRATION_LOCK = 0x6B66737664
"""The number of PostgreSQL's advisory lock under which tables are created or changed: "kfsvd"."""


def url_of(place: str | Path) -> str:
    """The URL of a store that is named by its URL or by its SQLite file."""
    text = str(place)
    return text if "://" in text else f"sqlite:///{text}"


def store_exists(url: str) -> bool:
    """Whether there is something to open: tables in a file or on a server. A file is there before its tables are.

    Raises:
        StoreError: the URL is none that can be used here, the server does not answer, or it is a database of something
            else.

    """
    file = sqlite_file(url)
    if file is not None and not file.exists():
        return False
    with _connected(url) as connection:
        return _revision(connection, shown(url)) is not None


@contextmanager
def open_store(url: str, *, create: bool = True) -> Iterator[Store]:
    """A store for the time of a `with` block.

    Args:
        url: of SQLite or PostgreSQL, such as sqlite:///kfsvd-bench.sqlite or postgresql+psycopg://host/name.
        create: make the file and its tables where they are missing; else that is an error.

    Raises:
        StoreError: the URL is unknown, the server does not answer, the file is missing, not a database, not writable,
            locked, or of a newer version of this program. Errors of the database inside the block become a StoreError
            too.

    """
    file = sqlite_file(url)
    if file is not None and not create and not file.exists():
        raise StoreError(f"there is no store at {file}: `kfsvd-bench run SPEC --db {shown(url)}` makes one")
    if file is not None and create and not file.parent.is_dir():
        raise StoreError(f"the folder {file.parent} of the store does not exist: create it, or choose another --db")
    with _connected(url) as connection:
        _bring_up_to_date(connection, url, create=create)
        yield Store(connection)


@contextmanager
def open_migrated(url: str, name: str) -> Iterator[Store]:
    """A copy of a store, brought up to date in place and without a word.

    Args:
        url: of the copy.
        name: what errors call it.

    Raises:
        StoreError: it is no store, is empty, or is of a newer version of this program.

    """
    with _connected(url, name) as connection:
        found = _revision(connection, name)
        connection.rollback()
        if found is None:
            raise StoreError(f"{name} holds no results")
        _log_ahead(connection)
        if found != REVISION:
            with _exclusive(connection):
                _migrate(connection, name)
        yield Store(connection)


@contextmanager
def _connected(url: str, name: str | None = None) -> Iterator[Connection]:
    engine = _engine(url)
    with translated(name or url):
        try:
            with engine.connect() as connection:
                try:
                    yield connection
                except (ValueError, TypeError, AttributeError, ArithmeticError, LookupError, StatementError) as error:
                    _blame(connection, name or shown(url), error)
                    raise
        finally:
            engine.dispose()


def _blame(connection: Connection, name: str, error: Exception) -> None:
    """What went wrong with a store that holds what no store holds is its own fault, else one of this program."""
    if connection.dialect.name != "sqlite" or isinstance(error, DBAPIError):
        return
    connection.rollback()
    if (where := misfit(connection)) is not None:
        raise StoreError(f"store {name}: {where} has a value that it cannot have: restore a copy") from error


def _engine(url: str) -> Engine:
    try:
        parsed = sa.make_url(url)
        backend, waits = parsed.get_backend_name(), {}
        if backend == "postgresql" and "connect_timeout" not in parsed.query:
            waits = {"connect_timeout": _CONNECT_SECONDS}
        engine = sa.create_engine(parsed, connect_args=waits)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        remedy = "try sqlite:///kfsvd-bench.sqlite"
        if isinstance(error, ModuleNotFoundError) and backend == "postgresql":
            remedy = "pip install 'kfsvd-bench[postgres]', and begin the URL with postgresql+psycopg://"
        raise StoreError(f"--db {shown(url)}: not a database URL that can be used here ({error}); {remedy}") from None
    if backend not in ("sqlite", "postgresql") or engine.dialect.is_async:
        raise StoreError(f"--db {shown(url)}: a store is sqlite:///FILE or postgresql+psycopg://HOST/NAME")
    sa.event.listen(engine, "connect", _configure_sqlite if backend == "sqlite" else _configure_postgresql)
    return engine


def _configure_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout = 5000")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute(WAITING)
    cursor.close()


def _log_ahead(connection: Connection) -> None:
    """Let readers read while the writer writes: that changes the file, which has to be known to be a store's."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        connection.rollback()


def _configure_postgresql(connection: Any, _record: Any) -> None:
    connection.execute("SET TIME ZONE 'UTC'")  # times are read as they are in SQLite
    connection.commit()


def _bring_up_to_date(connection: Connection, url: str, *, create: bool) -> None:
    """Create or migrate the tables where they are not at `REVISION`: wholly, or not at all."""
    name = shown(url)
    found = _revision(connection, name)
    connection.rollback()
    if found is None and not create:
        raise StoreError(f"{name} holds no results: `kfsvd-bench run SPEC --db {name}` makes some")
    _log_ahead(connection)
    if found == REVISION:
        return
    with _exclusive(connection):
        found = _revision(connection, name)
        if found == REVISION:  # another process was quicker
            return
        file = sqlite_file(url)
        copy = back_up(file, found) if file is not None and found is not None else None
        _migrate(connection, name)
    if found is not None:
        kept = f"a copy of how it was is {copy}" if copy else "no copy was made; pg_dump makes one"
        print(f"{name} is brought from schema {found} to {REVISION}; {kept}", file=sys.stderr)


def _revision(connection: Connection, name: str) -> str | None:
    """The schema's number, None for an empty database."""
    tables = sa.inspect(connection).get_table_names()
    if not tables:
        return None
    if "alembic_version" not in tables:
        raise StoreError(
            f"{name} is a database of something else (tables {', '.join(sorted(tables)[:5])}): choose another"
        )
    found = str(connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar())
    if found > REVISION:
        raise StoreError(
            f"{name} was written by a newer kfsvd-bench (schema {found}, this one reads {REVISION}): update it"
        )
    if not (len(found) == len(REVISION) and found.isdecimal()):
        raise StoreError(f"{name} is damaged: it names no schema of kfsvd-bench: restore a copy")
    return found


@contextmanager
def _exclusive(connection: Connection) -> Iterator[None]:
    """One transaction that no other writer shares, committed at the end; also for the tables themselves."""
    driver: Any = connection.connection.driver_connection
    sqlite = connection.dialect.name == "sqlite"
    if sqlite:  # Python's driver would commit after every CREATE TABLE
        driver.isolation_level, before = None, driver.isolation_level
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
    try:
        yield
        connection.commit()
    finally:
        connection.rollback()
        if sqlite:
            driver.isolation_level = before


def _migrate(connection: Connection, name: str) -> None:
    import logging

    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    logging.getLogger("alembic").setLevel(logging.WARNING)
    config = Config()
    config.set_main_option("script_location", "suite.store:migrations")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise StoreError(f"{name} cannot be brought up to date: {error}; choose another --db") from None
