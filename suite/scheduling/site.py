"""What every executor knows: where and how cells are run, who watches, and how a matrix went."""

from __future__ import annotations

import signal
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from suite.cell import Cell
    from suite.problems import Folders
    from suite.records import Records
    from suite.scheduling.slots import Slot
    from suite.spec.budget import Scheduling
    from suite.store import Store

FLUSH_SECONDS = 0.5
"""The store is committed this often: with a quarter of one between a worker's records, a crash costs under a second."""


GRACE_SECONDS = 10.0
"""How long an interrupted worker may take to send what it has measured before it is killed."""


class View(Protocol):
    """What watches a run; every method is called from the scheduler's loop."""

    def started(self, cell: Cell, slot: Slot) -> None:
        """A worker has taken the cell."""

    def measured(self, cell: Cell, slot: Slot, records: Records) -> None:
        """Records of the cell have arrived."""

    def noted(self, cell: Cell, text: str) -> None:
        """The cell gave rise to a warning."""

    def finished(self, cell: Cell, slot: Slot, status: str, error: str | None) -> None:
        """The cell is over."""

    def elsewhere(self, waiting: int, ended: int) -> None:
        """Other commands run so many of the cells, for which a slot waits, and have ended so many."""

    def held(self) -> None:
        """A command beside which these cells may not run is at work on this host."""

    def refresh(self) -> None:
        """Called several times a second."""

    def stopping(self) -> None:
        """Ctrl-C was pressed once."""


@dataclass
class Summary:
    """How a matrix went."""

    statuses: dict[str, int] = field(default_factory=dict)
    elsewhere: Counter[str] = field(default_factory=Counter)  # cells that other commands ended meanwhile
    interrupted: bool = False

    def count(self, status: str) -> None:
        """One more cell that ended so."""
        self.statuses[status] = self.statuses.get(status, 0) + 1

    def add(self, other: Summary) -> None:
        """What went before or after."""
        for status, number in other.statuses.items():
            self.statuses[status] = self.statuses.get(status, 0) + number
        self.elsewhere += other.elsewhere
        self.interrupted = self.interrupted or other.interrupted

    @property
    def failed(self) -> int:
        """Cells that ended without a result, those of other commands included."""
        ended = [*self.statuses.items(), *self.elsewhere.items()]
        return sum(n for status, n in ended if status in ("error", "oom", "timeout"))


@dataclass(frozen=True)
class Provenance:
    """What every run of one command shares."""

    experiment: int
    environment: int
    fingerprint: str
    since: int  # the latest run when the command began


@dataclass(frozen=True)
class Site:
    """Where and how cells are run."""

    slots: Sequence[Slot]
    store: Store
    provenance: Provenance
    folders: Folders
    rules: Scheduling
    logs: Path  # the folder for what cells print


@contextmanager
def on_signals(handler: object) -> Iterator[None]:
    """Call `handler()` on SIGINT and SIGTERM inside."""
    previous = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        previous[number] = signal.signal(number, lambda *_: handler())  # type: ignore[operator]
    try:
        yield
    finally:
        for number, old in previous.items():
            signal.signal(number, old)
