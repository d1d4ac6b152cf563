"""A copy of a SQLite store beside it, before its tables are changed."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from typing import TYPE_CHECKING

from suite.errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path


def backup_of(file: Path, revision: str) -> Path:
    """Where the copy of a store of some schema lies: results.sqlite → results.schema-0004.sqlite."""
    return file.with_name(f"{file.stem}.schema-{revision}{file.suffix}")


def back_up(file: Path, revision: str) -> Path:
    """Copy what is committed, write-ahead log included, and give it its name once it is whole and on the disk.

    Raises:
        StoreError: the copy cannot be written; what there is of it is removed, and the store is as it was.

    """
    target = backup_of(file, revision)
    unfinished = target.with_name(f"{target.name}.part")
    try:
        with contextlib.closing(sqlite3.connect(file)) as old, contextlib.closing(sqlite3.connect(unfinished)) as new:
            old.backup(new)
        shutil.copymode(file, unfinished)
        with unfinished.open("rb") as copy:
            os.fsync(copy.fileno())
        unfinished.replace(target)
    except (sqlite3.Error, OSError) as error:
        raise StoreError(
            f"{file} is of an older kfsvd-bench (schema {revision}) and is copied to {target} before it is changed, "
            f"which fails: {error}; free some space there, or choose another --db"
        ) from error
    finally:
        with contextlib.suppress(OSError):  # a folder that is read-only
            unfinished.unlink(missing_ok=True)
    return target
