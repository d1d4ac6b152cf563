"""Who may run a cell: a run at work is the lease on its cell, and its heartbeat keeps it.

The database itself lets no two runs of a cell be at work at once (a unique index over those whose status is "running").
A lease is lost when its owner is dead: its heartbeat has not changed for `DEAD_SECONDS`, or for `GONE_SECONDS` while no
process of its number is on this host. That alone proves nothing: containers and cloned machines may share a host's
name, and each sees its own processes only. Heartbeats are stamped by the database's clock and never compared with
another host's. Whether one changes is timed by this process's own monotonic clock, which nobody sets: a clock that is
set back or forward ends no lease. The database's clock serves once, for how old a heartbeat was when it was first seen.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import datetime as dt

DEAD_SECONDS = 60.0
"""A running run whose heartbeat stands still for longer is taken to be left behind by a process that died."""

RESERVED = "slurm"
"""The device of a run that only holds a cell for a job, which measures into a store of its own.

Such a run is no attempt at the cell: once given back, or left behind by a process that died, it is removed.
"""


GONE_SECONDS = 5.0
"""The same for a run whose host bears this one's name, and whose process is not to be seen here."""


class Claim(NamedTuple):
    """What became of asking for a cell."""

    run: int | None  # the run that it is ours under, if it is
    status: str  # "running", or how another command's run of it ended


class Owner(NamedTuple):
    """The process that runs a cell."""

    host: str
    pid: int


class Heartbeat(NamedTuple):
    """A run's last sign of life, and the database's clock when that was read."""

    at: dt.datetime
    now: dt.datetime


class Pulses:
    """How long each run has been silent, as far as this process has seen."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[dt.datetime, float]] = {}  # run → its heartbeat, and since when it stands there

    def silence(self, run: int, heartbeat: Heartbeat) -> float:
        """Seconds since the heartbeat of a run last changed."""
        now = time.monotonic()
        known = self._seen.get(run)
        if known is None:
            age = (heartbeat.now - heartbeat.at).total_seconds()
            self._seen[run] = heartbeat.at, now - max(0.0, age)
        elif known[0] != heartbeat.at:
            self._seen[run] = heartbeat.at, now
        return now - self._seen[run][1]


def is_dead(owner: Owner, me: Owner, silence: float) -> bool:
    """Whether a run is left behind, of those that this process does not run.

    Args:
        owner: of the run.
        me: this process. What bears its number was left by an earlier one, as after a container's restart, or is
            another container's.
        silence: seconds since the run's last sign of life.

    """
    gone = owner == me or (owner.host == me.host and not _is_alive(owner.pid))
    return silence > (GONE_SECONDS if gone else DEAD_SECONDS)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # not ours to signal, but there
        return True
    return True
