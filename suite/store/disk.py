"""When a commit waits for the disk: a power cut takes no result, and a cell costs as few waits as it can."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session

WAITING = "PRAGMA synchronous = FULL"
"""For SQLite; with less, a power cut takes all commits since the last checkpoint of the write-ahead log."""


@contextmanager
def unhurried(session: Session) -> Iterator[None]:
    """Commits inside reach SQLite's disk with the next commit outside, in order: for what is of no worth without it."""
    connection = session.connection()
    if connection.dialect.name != "sqlite":
        yield
        return
    connection.exec_driver_sql("PRAGMA synchronous = NORMAL")
    try:
        yield
    finally:
        session.rollback()
        session.connection().exec_driver_sql(WAITING)
        session.rollback()
