"""What cells print: kept beside the store, in one file a run, of bounded size."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from pathlib import Path

KEPT_BYTES = 256 * 1024
"""The end of a run's output that is kept for certain; a file is up to twice as long."""

_PIPE_BYTES = 64 * 1024
"""What a pipe holds."""

_LAST_BYTES = 4000


def log_file(folder: Path, run: int) -> Path:
    """Where the output of a run is kept; there is no file where it printed nothing."""
    return folder / f"{run}.log"


def end_of(file: Path) -> bytes:
    """What is kept of a file for certain; the rest, whatever its size, is not read."""
    with file.open("rb") as opened:
        opened.seek(-min(file.stat().st_size, KEPT_BYTES), os.SEEK_END)
        return opened.read(KEPT_BYTES)


class Log:
    """The output of one run as a file, of which the beginning goes when it grows too long.

    A disk that is full or read-only costs the output, and nothing else.
    """

    def __init__(self, file: Path) -> None:
        self._file, self._size, self._gone = file, 0, 0
        with contextlib.suppress(OSError):
            file.unlink()  # of a run with this number in a store that was here before

    def add(self, data: bytes) -> None:
        """Append to it."""
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(exist_ok=True)
            with self._file.open("ab") as file:
                file.write(data)
            self._size += len(data)
            if self._size > 2 * KEPT_BYTES:
                self._cut()

    def _cut(self) -> None:
        """Leave the end alone; whoever reads meanwhile sees the one file or the other."""
        end = end_of(self._file)
        self._gone += self._size - KEPT_BYTES
        shorter = self._file.with_suffix(".shorter")
        shorter.write_bytes(f"[{self._gone} bytes before this are left out]\n".encode() + end)
        shorter.replace(self._file)
        self._size = KEPT_BYTES


class Output:
    """What a worker prints, as it comes through a pipe: the last words in memory, a run's own in its file."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._log: Log | None = None
        self._last = b""
        self.open = True
        """Whether more may come."""

    def begin(self, file: Path) -> None:
        """What comes from now on is a run's."""
        self.drain()
        self._log = Log(file)

    def end(self) -> None:
        """The run is over: what it has printed is in the pipe, if not read yet."""
        self.drain()
        self._log = None

    def read(self) -> int:
        """Take up to a pipeful that is there; how many bytes it was."""
        try:
            data = os.read(self._pipe.fileno(), _PIPE_BYTES) if self.open and self._pipe.poll() else None
        except OSError:
            data = b""
        if data is None:
            return 0
        self.open = bool(data)
        self._last = (self._last + data)[-_LAST_BYTES:]
        if self._log is not None and data:
            self._log.add(data)
        return len(data)

    def drain(self) -> None:
        """Take what is there, but no more than was there when it was called."""
        left = _PIPE_BYTES
        while left > 0 and (taken := self.read()):
            left -= taken

    def last_words(self) -> str:
        """The end of all that came."""
        self.drain()
        return self._last.decode(errors="replace")

    @property
    def pipe(self) -> Connection:
        """For `multiprocessing.connection.wait`."""
        return self._pipe

    def close(self) -> None:
        """No more is wanted."""
        self.open = False
        self._pipe.close()
