"""Opening a store: its engine, its schema, and clear errors where it cannot be used."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from suite.errors import StoreError
from suite.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine

REVISION = "0005"
"""The schema that this program reads and writes: the newest migration."""


def url_of(place: str | Path) -> str:
    """The URL of a store that is named by its URL or by its SQLite file."""
    text = str(place)
    return text if "://" in text else f"sqlite:///{text}"


def store_exists(url: str) -> bool:
    """Whether there is something to open; a store on a server is taken to exist.

    Raises:
        StoreError: the URL is none that SQLAlchemy understands.

    """
    file = _sqlite_file(url)
    return file is None or file.exists()


@contextmanager
def open_store(url: str, *, create: bool = True) -> Iterator[Store]:
    """A store for the time of a `with` block.

    Args:
        url: any SQLAlchemy URL, such as sqlite:///kfsvd-bench.sqlite.
        create: make the file and its tables where they are missing; else that is an error.

    Raises:
        StoreError: the URL is unknown, the file is missing, not a database, not writable, locked, or of a newer
            version of this program. Errors of the database inside the block become a StoreError too.

    """
    file = _sqlite_file(url)
    if file is not None and not create and not file.exists():
        raise StoreError(f"there is no store at {file}: `kfsvd-bench run SPEC --db {url}` makes one")
    if file is not None and create and not file.parent.is_dir():
        raise StoreError(f"the folder {file.parent} of the store does not exist: create it, or choose another --db")
    engine = _engine(url)
    with _translated(url):
        try:
            with engine.connect() as connection:
                _bring_up_to_date(connection, url, create=create)
                store = Store(connection)
                yield store
        finally:
            engine.dispose()


def _engine(url: str) -> Engine:
    try:
        engine = sa.create_engine(url)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise StoreError(
            f"--db {url}: not a database URL that can be used here ({error}); try sqlite:///kfsvd-bench.sqlite"
        ) from None
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _configure_sqlite)
    return engine


def _configure_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout = 5000")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA journal_mode = WAL")  # readers read while the writer writes
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.close()


def _sqlite_file(url: str) -> Path | None:
    try:
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError):  # ValueError: a port that is no number
        raise StoreError(f"--db {url}: not a database URL; try sqlite:///kfsvd-bench.sqlite") from None
    if parsed.get_backend_name() != "sqlite" or parsed.database in (None, "", ":memory:"):
        return None
    return Path(str(parsed.database))


def _bring_up_to_date(connection: Connection, url: str, *, create: bool) -> None:
    """Create or migrate the tables where they are not at `REVISION`: wholly, or not at all."""
    found = _revision(connection, url)
    connection.rollback()
    if found == REVISION:
        return
    if found is None and not create:
        raise StoreError(f"{url} holds no results: `kfsvd-bench run SPEC --db {url}` makes some")
    with _exclusive(connection):
        if _revision(connection, url) != REVISION:  # else another process was quicker
            _migrate(connection, url)


def _revision(connection: Connection, url: str) -> str | None:
    """The schema's number, None for an empty database."""
    tables = sa.inspect(connection).get_table_names()
    if not tables:
        return None
    if "alembic_version" not in tables:
        raise StoreError(
            f"{url} is a database of something else (tables {', '.join(sorted(tables)[:5])}): choose another"
        )
    found = str(connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar())
    if found > REVISION:
        raise StoreError(
            f"{url} was written by a newer kfsvd-bench (schema {found}, this one reads {REVISION}): update it"
        )
    return found


@contextmanager
def _exclusive(connection: Connection) -> Iterator[None]:
    """One transaction that no other writer shares, committed at the end; also for the tables themselves."""
    driver: Any = connection.connection.driver_connection
    sqlite = connection.dialect.name == "sqlite"
    if sqlite:  # Python's driver would commit after every CREATE TABLE
        driver.isolation_level, before = None, driver.isolation_level
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    try:
        yield
        connection.commit()
    finally:
        connection.rollback()
        if sqlite:
            driver.isolation_level = before


def _migrate(connection: Connection, url: str) -> None:
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
        raise StoreError(f"{url} cannot be brought up to date: {error}; choose another --db") from None


@contextmanager
def _translated(url: str) -> Iterator[None]:
    """Errors of the database as one sentence that says what to do."""
    try:
        yield
    except DBAPIError as error:
        text = str(error.orig)
        remedies = {
            "not a database": "this file is no SQLite database: choose another --db",
            "readonly": "the file or its folder is read-only: change that, or choose another --db",
            "unable to open": "the file cannot be opened: see its folder and permissions",
            "locked": "another program holds it locked: wait for it, or end it",
            "disk is full": "the disk is full: free some space; the same command then goes on",
            "disk I/O": "the disk fails: see its health; the same command goes on elsewhere with another --db",
            "malformed": "the file is damaged: restore a copy",
        }
        remedy = next((remedy for sign, remedy in remedies.items() if sign in text), "")
        raise StoreError(f"store {url}: {text}{'; ' + remedy if remedy else ''}") from error
