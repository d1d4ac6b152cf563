"""Workers and schedulers killed for real, and Ctrl-C: what was flushed is kept, and the same command goes on."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tests.benchmarks.random_kills import Ordeal, workers_of
from tests.reliability import Evidence, fault
from tests.suite.helpers import DEADLINE, SMALL, command, environment, wait_for, write_spec
from tests.suite.scheduling.tracing import TRACE, seconds_lost

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]
# Two seconds of training a cell: long enough to be killed in, short enough to be done again.
SPEC = SMALL.replace("iterations: 60", "iterations: 100000, seconds: 2").replace("fisher_every: 30, ", "")
SPEC = SPEC.replace("seeds: [0, 1]", "seeds: [0]").replace("  kfac: {", "  # kfac: {")


def start(folder: Path) -> subprocess.Popen[str]:
    write_spec(folder, SPEC)
    (folder / "sitecustomize.py").write_text(TRACE)
    return subprocess.Popen(
        command("run", "small.yaml", "--devices", "sim:2"),
        cwd=folder,
        env=environment(folder) | {"PYTHONPATH": f"{folder}:{ROOT}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def rows(folder: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(folder / "kfsvd-bench.sqlite")) as connection:
        return connection.execute(query).fetchall()


def at_work(folder: Path, process: subprocess.Popen[str]) -> None:
    """Until both slots have stored iterations, and a random number more of them."""

    def both() -> bool:
        assert process.poll() is None, process.communicate()
        return rows(folder, "SELECT count(DISTINCT run_id) FROM iterations") >= [(2,)]

    wait_for(both)
    more = random.randrange(500)
    wait_for(lambda: process.poll() is not None or rows(folder, "SELECT count(*) FROM iterations") >= [(more,)])


def finishes(folder: Path, evidence: Evidence) -> None:
    """The same command does what is left, and keeps what was there."""
    url = f"sqlite:///{folder}/kfsvd-bench.sqlite"
    evidence.whole(url)
    every = "SELECT run_id, count(*), max(iteration) FROM iterations GROUP BY run_id"
    before = rows(folder, every)
    process = start(folder)
    output, _ = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, output
    evidence.once(url, 3)
    assert set(before) <= set(rows(folder, every))


@fault("a worker is killed", "SIGKILL to one of two worker processes, at a random moment of its cell")
def test_a_killed_worker_costs_its_cell_and_no_other(tmp_path: Path, evidence: Evidence) -> None:
    process = start(tmp_path)
    at_work(tmp_path, process)
    subprocess.run(["kill", "-9", str(random.choice(workers_of(process.pid)))], check=True)
    output, _ = process.communicate(timeout=DEADLINE)
    evidence.ended(process.returncode, 3, output)
    evidence.lost_at_most(seconds_lost(tmp_path))
    assert "the worker process ended with signal SIGKILL" in output
    ((error,),) = rows(tmp_path, "SELECT error FROM runs WHERE status = 'error'")
    assert "signal SIGKILL" in str(error)
    assert rows(tmp_path, "SELECT status, count(*) FROM runs GROUP BY status") == [("done", 2), ("error", 1)]
    finishes(tmp_path, evidence)


@fault("the scheduler is killed", "SIGKILL to the command itself while two workers train; they end with it")
def test_a_killed_scheduler_leaves_its_records_and_no_orphans(tmp_path: Path, evidence: Evidence) -> None:
    process = start(tmp_path)
    at_work(tmp_path, process)
    workers = workers_of(process.pid)
    assert len(workers) == 2
    process.kill()
    output, _ = process.communicate(timeout=DEADLINE)
    evidence.ended(process.returncode, -9, output)
    wait_for(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))
    evidence.lost_at_most(seconds_lost(tmp_path))
    finishes(tmp_path, evidence)


@fault("Ctrl-C", "SIGINT while two workers train: they send what they have, and the command ends")
def test_ctrl_c_keeps_every_record_and_the_same_command_goes_on(tmp_path: Path, evidence: Evidence) -> None:
    process = start(tmp_path)
    at_work(tmp_path, process)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=DEADLINE)
    evidence.ended(process.returncode, 130, output)
    assert "the same command goes on from here" in output
    assert seconds_lost(tmp_path) == 0
    evidence.lost_at_most(0)
    runs = rows(tmp_path, "SELECT status, (SELECT count(*) FROM iterations WHERE run_id = runs.id) FROM runs")
    assert "interrupted" in {status for status, _ in runs}
    assert all(int(str(count)) > 10 for _, count in runs)
    finishes(tmp_path, evidence)


@fault("kills at random", "SIGKILL four times, to one of two commands that share ten cells, or to its worker")
def test_a_matrix_under_random_kills_does_every_cell_once(tmp_path: Path, evidence: Evidence) -> None:
    (tmp_path / "kills").mkdir()
    ordeal = Ordeal(tmp_path / "kills", 10, 1000, 1.0, random.Random(), most=4)
    ordeal.run(limit=480.0)
    assert ordeal.check() >= 10
    assert ordeal.kills.number == 4
    evidence.code = "0 in the end"
    evidence.lost_at_most(max(ordeal.kills.lost, default=0.0))
    evidence.once(f"sqlite:///{ordeal.file}", 10)
