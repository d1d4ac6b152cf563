"""Every step that a worker makes, noted the moment it is made: what a fault has cost is counted, not supposed."""

from __future__ import annotations

import sqlite3
import struct
from contextlib import closing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

TRACE = """
import os
import struct
import time

import suite.training.loop as training

make = training.Training.__init__


def traced(self, cell, problem, device):
    make(self, cell, problem, device)
    file = os.open(f"trace-{cell.key}-{time.time_ns()}", os.O_WRONLY | os.O_CREAT, 0o600)
    charge = self.clock.charge

    def noted(*edges):
        charged = charge(*edges)
        os.write(file, struct.pack("d", time.monotonic()))
        return charged

    self.clock.charge = noted


training.Training.__init__ = traced
"""
"""For a `sitecustomize` in the folder of a command: a file an attempt, with the moment of each of its steps."""


def seconds_lost(folder: Path) -> float:
    """What was made and is not stored, in seconds of the attempt that lost most: from its last stored step to its last.

    Called once the command is over, on a store and a folder in which it was the only one.
    """
    with closing(sqlite3.connect(folder / "kfsvd-bench.sqlite")) as connection:
        count = "(SELECT count(*) FROM iterations WHERE run_id = runs.id)"
        runs = connection.execute(f"SELECT cell_key, {count} FROM runs ORDER BY id").fetchall()
    worst = 0.0
    for key in {key for key, _ in runs}:
        stored = [count for each, count in runs if each == key]
        steps = [list(_moments(file)) for file in sorted(folder.glob(f"trace-{key}-*"), key=_begun)]
        assert len(steps) <= len(stored), "an attempt without a run"
        for kept, made in zip(stored, steps, strict=False):  # attempts that never came to train have no trace
            assert kept <= len(made), "a record of no step"
            if kept < len(made):
                worst = max(worst, made[-1] - made[max(0, kept - 1)])
    return worst


def _begun(file: Path) -> int:
    return int(file.name.rpartition("-")[2])


def _moments(file: Path) -> list[float]:
    return [moment for (moment,) in struct.iter_unpack("d", file.read_bytes())]
