"""This host, shared by the commands that run cells here: exclusive timing is alone on it, whatever stores they have."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from suite.errors import SuiteError
from suite.scheduling import local
from suite.scheduling.site import Summary, on_signals

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from suite.cell import Cell
    from suite.scheduling.site import Site, View

LOCK = "kfsvd-bench.lock"
"""The file in the folder for temporary files: the system lets its lock go when a command dies, however it does."""

_LOOK_SECONDS = 0.2


def run_cells(cells: Sequence[Cell], site: Site, view: View) -> Summary:
    """The same as `local.run_cells`, once it may: one that is exclusive beside no other, others beside each other.

    While it waits it has no cell, so that two commands never wait for each other. Ctrl-C ends the wait.
    """
    exclusive = site.rules.timing == "exclusive"
    signals: list[None] = []
    with _opened(needed=exclusive) as file:
        with on_signals(lambda: signals.append(None)):
            said = False
            while not signals and not _taken(file, exclusive=exclusive):
                if not said:
                    view.held()
                    said = True
                view.refresh()
                time.sleep(_LOOK_SECONDS)
        if signals:
            return Summary(interrupted=True)
        return local.run_cells(cells, site, view)


@contextmanager
def _opened(*, needed: bool) -> Iterator[int | None]:
    """The file, made if it is missing, for every user of the host; None where there can be none and none is needed."""
    path = Path(tempfile.gettempdir()) / LOCK
    file = None
    try:
        try:
            file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CREAT, 0o644)
            with contextlib.suppress(OSError):  # another user was quicker
                os.fchmod(file, 0o644)
    except OSError as error:
        if needed:
            raise SuiteError(f"timing: exclusive needs the file {path}, which cannot be opened: {error}") from error
    try:
        yield file
    finally:
        if file is not None:
            os.close(file)


def _taken(file: int | None, *, exclusive: bool) -> bool:
    if file is None:
        return True
    try:
        fcntl.flock(file, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:  # a file system without locks
        if exclusive:
            raise SuiteError(f"timing: exclusive needs a lock in {tempfile.gettempdir()}: {error}") from error
    return True
