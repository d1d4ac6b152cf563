"""How long the machine has kept processes waiting while a test ran: what is slow by that is no fault of the program."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

_BEATS = 10
_PAUSE, _WORK = 0.09, 0.01
"""Ten beats of a sleep, some work and a write to the disk take a second where nothing else is going on."""


class Stalls:
    """Measures, for the time of a `with` block, by how much a second of light work was longer at worst."""

    def __init__(self) -> None:
        self.worst = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._measure, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def _measure(self) -> None:
        with tempfile.TemporaryFile() as file:
            while not self._over.is_set():
                begun = time.monotonic()
                for beat in range(1, _BEATS + 1):
                    self._over.wait(_PAUSE)
                    worked = time.thread_time() + _WORK
                    while time.thread_time() < worked:
                        pass
                    file.write(b"x" * 4096)
                    file.flush()
                    os.fsync(file.fileno())
                    if not self._over.is_set():
                        self.worst = max(self.worst, time.monotonic() - begun - beat * (_PAUSE + _WORK))
