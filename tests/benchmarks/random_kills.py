"""A matrix under random kills: workers and whole commands, two of which share it, killed -9 every few seconds.

    python -m tests.benchmarks.random_kills [--cells 200] [--seconds 2] [--seed 0]

writes what it has found into reports/reliability.md. A command that is killed is called again. At the end every cell is
done exactly once, the store is sound, no process is left, and the losses of a sample of cells are those of an
undisturbed run, to the last bit.
"""

from __future__ import annotations

import argparse
import datetime as dt
import math
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from suite.environment import current_environment
from suite.training.loop import RECORD_SECONDS
from tests.reliability import KILLS, MOST_LOST, cores, put
from tests.suite.helpers import command, environment, write_spec

ROOT = Path(__file__).parents[2]
NAME = "kills.yaml"
COMMANDS = 2

SPEC = """
version: 1
name: kills
optimizers:
  sgd: {method: sgd, lr: [0.01, 0.02, 0.03, 0.04, 0.05]}
  adam: {method: adam, lr: [0.001, 0.002, 0.003, 0.004, 0.005]}
datasets:
  digits: {data: digits, network: {kind: autoencoder, encoder: [16, 4]}, likelihood: bernoulli, batch_size: 64}
seeds: [SEEDS]
budget: {iterations: ITERATIONS}
measure: {loss_every: 500}
"""


def spec_of(cells: int, iterations: int) -> str:
    """Ten optimizers, and as many seeds as make so many cells."""
    assert cells % 10 == 0
    text = SPEC.replace("SEEDS", ", ".join(map(str, range(cells // 10))))
    return text.replace("ITERATIONS", str(iterations))


@dataclass
class Kills:
    """What has been killed, and what that cost."""

    workers: int = 0
    commands: int = 0
    lost: list[float] = field(default_factory=list)  # seconds of records, of each killed command

    @property
    def number(self) -> int:
        """How many there were."""
        return self.workers + self.commands


@dataclass
class Ordeal:
    """A matrix, run by two commands at once in a folder, under random kills."""

    folder: Path
    cells: int
    iterations: int
    every: float  # mean seconds between kills, while all commands are at work
    random: random.Random
    most: float = math.inf  # kills
    kills: Kills = field(default_factory=Kills)

    @property
    def file(self) -> Path:
        """The store."""
        return self.folder / "kfsvd-bench.sqlite"

    def rows(self, query: str) -> list[Any]:
        """What a query finds; nothing where there is no store yet."""
        try:
            with closing(sqlite3.connect(f"file:{self.file}?mode=ro", uri=True, timeout=30)) as connection:
                return connection.execute(query).fetchall()
        except sqlite3.OperationalError:
            return []

    def start(self, *more: str) -> subprocess.Popen[bytes]:
        """One command, in a folder of its own place."""
        return subprocess.Popen(
            command("run", NAME, "--devices", "sim:1", *more),
            cwd=self.folder,
            env=environment(self.folder) | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # as from a terminal of its own
        )

    def run(self, limit: float) -> float:
        """Kill and call again until both commands have come to an end; the seconds that it took."""
        write_spec(self.folder, spec_of(self.cells, self.iterations), NAME)
        begun = time.monotonic()
        running = [self.start() for _ in range(COMMANDS)]
        due: dict[int, float] = {}  # by a command's number: it is struck so long after it has begun with a cell
        while running and time.monotonic() - begun < limit:
            time.sleep(0.05)
            for process in running:
                if process.pid not in due and self._is_at_work(process):
                    due[process.pid] = time.monotonic() + self._pause()
                if time.monotonic() > due.get(process.pid, math.inf) and self.kills.number < self.most:
                    del due[process.pid]
                    self._kill(process)
            ended = [process for process in running if process.poll() is not None]
            running = [process for process in running if process.poll() is None]
            # A command that was killed, or whose worker was, is called again while cells are left.
            running += [self.start() for process in ended if process.returncode != 0]
        for process in running:
            process.kill()
        assert not running, f"the matrix did not come to its end within {limit:g} s"
        return time.monotonic() - begun

    def _is_at_work(self, process: subprocess.Popen[bytes]) -> bool:
        """Whether a command has a cell, so that a kill costs something."""
        mine = f"SELECT count(*) FROM runs WHERE status = 'running' AND owner_pid = {process.pid}"
        return self.rows(mine) not in ([], [(0,)])

    def _pause(self) -> float:
        return self.random.uniform(0.0, 2.0) * self.every * COMMANDS

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        """Its worker, or itself; at random."""
        workers = workers_of(process.pid)
        if workers and self.random.random() < 0.5:
            os.kill(self.random.choice(workers), signal.SIGKILL)
            self.kills.workers += 1
            return
        mine = f"FROM runs WHERE status = 'running' AND owner_pid = {process.pid}"
        process.kill()
        now = time.time()
        process.wait()
        self.kills.commands += 1
        for (at,) in self.rows(f"SELECT (julianday(heartbeat_at) - 2440587.5) * 86400 {mine}"):
            self.kills.lost.append(now - at + RECORD_SECONDS)

    def check(self) -> int:
        """Hold the store to what is promised; how many runs there are."""
        assert self.rows("PRAGMA integrity_check") == [("ok",)]
        assert self.rows("PRAGMA foreign_key_check") == []
        done = "SELECT count(*), count(DISTINCT cell_key) FROM runs WHERE status = 'done'"
        assert self.rows(done) == [(self.cells, self.cells)]
        assert self.rows("SELECT count(*) FROM runs WHERE status = 'running'") == [(0,)]
        every = "FROM iterations JOIN runs ON runs.id = run_id"
        counts = self.rows(f"SELECT status, count(*), max(iteration), min(iteration) {every} GROUP BY run_id")
        assert all((count, 1) == (last, first) for _, count, last, first in counts), "no record between two is missing"
        assert all(count == self.iterations for status, count, *_ in counts if status == "done")
        assert not [pid for pid in os.listdir("/proc") if pid.isdigit() and self._works_here(pid)], "an orphan"
        return int(self.rows("SELECT count(*) FROM runs")[0][0])

    def _works_here(self, pid: str) -> bool:
        try:
            return os.readlink(f"/proc/{pid}/cwd") == str(self.folder.resolve())
        except OSError:
            return False

    def losses(self, cell: tuple[str, int]) -> list[Any]:
        """Every loss of a cell's result."""
        optimizer, seed = cell
        mine = f"status = 'done' AND optimizer = '{optimizer}' AND seed = {seed}"
        every = "SELECT iteration, loss FROM iterations JOIN runs ON runs.id = run_id"
        return self.rows(f"{every} WHERE {mine} ORDER BY iteration")

    def same_as_undisturbed(self, folder: Path, count: int) -> int:
        """Run a sample of the cells in peace; how many have the same losses, to the last bit: all of them."""
        quiet = Ordeal(folder, self.cells, self.iterations, 0, self.random)
        write_spec(folder, spec_of(self.cells, self.iterations), NAME)
        cells = self.rows("SELECT optimizer, seed FROM runs WHERE status = 'done' ORDER BY cell_key")
        seeds = sorted({seed for _, seed in cells})
        seed = self.random.choice(seeds)
        kinds = self.random.sample(sorted({optimizer for optimizer, _ in cells}), count)
        process = quiet.start("--select", f"optimizer={'|'.join(kinds)},seed={seed}")
        assert process.wait(600) == 0
        for kind in kinds:
            assert len(quiet.losses((kind, seed))) == self.iterations
            assert quiet.losses((kind, seed)) == self.losses((kind, seed))
        return len(kinds)


def workers_of(pid: int) -> list[int]:
    """The processes in which a command trains: forked by its server, and each at the head of a group."""
    return [worker for server in servers_of(pid) for worker in children(server) if leads_a_group(worker)]


def leads_a_group(pid: int) -> bool:
    """Not one that has only now been forked, nor one that is gone."""
    try:
        return os.getpgid(pid) == pid
    except ProcessLookupError:
        return False


def servers_of(pid: int) -> list[int]:
    """The process that a command has its workers from; none before there is one."""
    return children(pid, "multiprocessing.forkserver")


def children(pid: int, pattern: str = "") -> list[int]:
    """Of a process, those whose command line has the pattern."""
    found = subprocess.run(["pgrep", "-f", pattern, "-P", str(pid)], capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]


def main() -> None:
    """Run it, and write its result down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--cells", type=int, default=200)
    parser.add_argument("--iterations", type=int, default=1500)
    parser.add_argument("--seconds", type=float, default=2.0, help="mean time between kills")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=3600.0, help="seconds after which it is given up")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, tempfile.TemporaryDirectory() as other:
        ordeal = Ordeal(Path(place), given.cells, given.iterations, given.seconds, random.Random(given.seed))
        seconds = ordeal.run(given.limit)
        runs = ordeal.check()
        same = ordeal.same_as_undisturbed(Path(other), 5)
    kills, machine = ordeal.kills, current_environment()
    text = (
        f"Measured on {dt.date.today()} by `python -m tests.benchmarks.random_kills {' '.join(sys.argv[1:])}".rstrip()
        + f"` on {cores(machine)} of {machine.cpu}, commit {(machine.commit or 'unknown')[:12]}: {given.cells} "
        f"cells of {given.iterations} iterations, run by {COMMANDS} commands at once; every {given.seconds:g} seconds "
        f"on average one of them, or its worker, got a SIGKILL.\n\n"
        f"* **{kills.number} kills** in {seconds:.0f} s: {kills.workers} of workers, "
        f"{kills.commands} of commands, which were called again.\n"
        f"* **{given.cells} of {given.cells} cells are done, each exactly once**, in {runs} attempts; "
        "`PRAGMA integrity_check` is ok, no record between two is missing, no process is left.\n"
        f"* **Records lost** with a killed command: at most {max(kills.lost, default=0):.2f} s, "
        f"{sorted(kills.lost)[len(kills.lost) // 2] if kills.lost else 0:.2f} s in the median.\n"
        f"* **The losses** of {same} of {same} cells that were run again undisturbed are the same, to the last bit."
    )
    put(text, KILLS)
    print(text)
    assert max(kills.lost, default=0) <= MOST_LOST


if __name__ == "__main__":
    main()
