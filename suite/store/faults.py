"""Errors of a database as one sentence that says what to do."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError, OperationalError

from suite.errors import StoreError
from suite.store.urls import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

_REMEDIES = {
    "not a database": "this file is no SQLite database: choose another --db",
    "readonly": "the file or its folder is read-only: change that, or choose another --db",
    "unable to open": "the file cannot be opened: see its folder and permissions",
    "locked": "another program holds it locked: wait for it, or end it",
    "disk is full": "the disk is full: free some space; the same command then goes on",
    "No space left": "the server's disk is full: free some space; the same command then goes on",
    "disk I/O": "the disk fails: see its health; the same command goes on elsewhere with another --db",
    "malformed": "the file is damaged: restore a copy",
    "authentication failed": "the server refuses this user or password",
    "no password supplied": "give it as postgresql+psycopg://USER:PASSWORD@HOST/NAME, in PGPASSWORD or in ~/.pgpass",
    "Connection refused": "no server answers there: start it, or see host and port",
    "No such file or directory": "no server answers there: start it, or see host and port",
    "resolve host": "there is no such host: see its name",
    "translate host": "there is no such host: see its name",
    "timeout expired": "the server does not answer: see host, port and firewall",
    "does not exist": "create it, or see the name in the URL",
    "permission denied": "this user may not: grant it the right, or connect as another",
    "read-only transaction": "the server takes no changes: connect to one that does",
    "closed the connection": "the server went away: once it is back, the same command goes on",
    "terminating connection": "the server went away: once it is back, the same command goes on",
}


def passes_by_itself(error: DBAPIError) -> bool:
    """Whether waiting may help: a lock that another program holds, or a server that is starting again."""
    if type(error.orig).__module__ == "sqlite3":
        return "locked" in str(error.orig)
    return isinstance(error, OperationalError)


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Errors of the database inside as a StoreError of one line; passwords are not shown."""
    try:
        yield
    except DBAPIError as error:
        text = " ".join(str(error.orig).split())
        remedy = next((remedy for sign, remedy in _REMEDIES.items() if sign in text), "")
        raise StoreError(f"store {shown(url)}: {text}{'; ' + remedy if remedy else ''}") from error
