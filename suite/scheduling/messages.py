"""What scheduler and worker say to each other: small frozen records over a pipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from suite.cell import Cell
    from suite.problems import Folders
    from suite.records import Records


@dataclass(frozen=True)
class Job:
    """To a worker: train this cell."""

    run: int
    cell: Cell
    folders: Folders


@dataclass(frozen=True)
class Stop:
    """To a worker: end the cell at hand, keep what is measured, and leave."""


@dataclass(frozen=True)
class Ready:
    """From a worker: torch is imported, jobs are welcome."""


@dataclass(frozen=True)
class Loaded:
    """From a worker: what the run is about, once its data are in memory."""

    run: int
    problem: str
    pixels: int
    floor: float | None
    test_floor: float | None
    parameters: int
    reference_seconds: float


@dataclass(frozen=True)
class Measured:
    """From a worker: records since the last message."""

    run: int
    records: Records


@dataclass(frozen=True)
class Noted:
    """From a worker: a warning that the cell gave rise to."""

    run: int
    text: str


@dataclass(frozen=True)
class Finished:
    """From a worker: the run is over."""

    run: int
    status: str  # done | diverged | oom | error | interrupted
    error: str | None  # the traceback, for error and oom
    peak_memory: int | None  # bytes


Message = Ready | Loaded | Measured | Noted | Finished
