"""What a worker has started ends with it, however it ends: a child that heeds no SIGTERM, and holds its pipes."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.benchmarks.random_kills import workers_of
from tests.suite.helpers import DEADLINE, wait_for
from tests.suite.scheduling.test_faults import LONG, PATIENCE, TWO, is_at_work, rows, start, statuses

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow
STUBBORN = """
    import os
    import signal
    import time

    import suite.training.loop as training

    train = training.Training.__iter__

    def with_a_child(self):
        if self.cell.optimizer == "adam":
            child = os.fork()
            if not child:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                time.sleep(1000)
                os._exit(0)
            with open("child.part", "w") as file:
                file.write(str(child))
            os.rename("child.part", "child")
            time.sleep(1000)
        yield from train(self)

    training.Training.__iter__ = with_a_child
"""


def child_of(folder: Path, process: subprocess.Popen[str]) -> int:
    """Of the worker that has started one, once it is there."""
    wait_for(lambda: process.poll() is not None or (folder / "child").exists())
    assert process.poll() is None, process.communicate()
    return int((folder / "child").read_text())


def parent_of(pid: int) -> int:
    found = subprocess.run(["ps", "-o", "ppid=", "-p", str(pid)], capture_output=True, text=True, check=True)
    return int(found.stdout)


def test_what_a_killed_worker_has_started_is_killed(tmp_path: Path) -> None:
    process = start(tmp_path, TWO, STUBBORN)
    child = child_of(tmp_path, process)
    subprocess.run(["kill", "-9", str(parent_of(child))], check=True)
    output, _ = process.communicate(timeout=DEADLINE)
    assert process.returncode == 3, output
    wait_for(lambda: not is_at_work(child))
    assert statuses(tmp_path) == {"sgd": "done", "adam": "error", "kpsvd": "done"}
    ((error,),) = rows(tmp_path, "SELECT error FROM runs WHERE status = 'error'")
    assert "signal SIGKILL" in error


def test_what_a_terminated_worker_has_started_is_killed(tmp_path: Path) -> None:
    process = start(tmp_path, TWO + "scheduling: {silent_seconds: 2}\n", STUBBORN + PATIENCE)
    child = child_of(tmp_path, process)
    output, _ = process.communicate(timeout=DEADLINE)
    assert process.returncode == 3, output
    wait_for(lambda: not is_at_work(child))
    assert statuses(tmp_path) == {"sgd": "done", "adam": "timeout", "kpsvd": "done"}


def test_what_the_workers_of_a_killed_scheduler_have_started_is_killed(tmp_path: Path) -> None:
    process = start(tmp_path, LONG, STUBBORN)
    child = child_of(tmp_path, process)
    workers = workers_of(process.pid)
    process.kill()
    process.communicate(timeout=DEADLINE)
    assert process.returncode == -9
    wait_for(lambda: not any(map(is_at_work, [child, *workers])))
