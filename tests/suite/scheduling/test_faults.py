"""Workers that hang, lie, run out of memory or never come to an end: each for real, in a process of its own.

What goes wrong is brought in from outside, by a `sitecustomize` module that Python imports in every process it starts
here; nothing in the suite knows of it.
"""

from __future__ import annotations

import itertools
import json
import signal
import sqlite3
import subprocess
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from tests.suite.helpers import SMALL, command, environment, write_spec

ROOT = Path(__file__).parents[3]
TWO = SMALL.replace("seeds: [0, 1]", "seeds: [0]").replace("fisher_every: 30, ", "").replace("  kfac: {", "  # kfac: {")
LONG = TWO.replace("iterations: 60", "iterations: 100000, seconds: 60")

BEFORE_TRAINING = """
    import suite.training as training

    train = training.Training.__iter__

    def sabotaged(self):
        if self.cell.optimizer == "adam":
            {}
        yield from train(self)

    training.Training.__iter__ = sabotaged
"""


def rows(folder: Path, query: str) -> list[Any]:
    with sqlite3.connect(folder / "kfsvd-bench.sqlite") as connection:
        return connection.execute(query).fetchall()


def start(folder: Path, spec: str, sabotage: str = "", devices: str = "sim:2") -> subprocess.Popen[str]:
    write_spec(folder, spec)
    (folder / "sitecustomize.py").write_text(textwrap.dedent(sabotage))
    return subprocess.Popen(
        command("run", "small.yaml", "--devices", devices),
        cwd=folder,
        env=environment(folder) | {"PYTHONPATH": f"{folder}:{ROOT}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(folder: Path, spec: str, sabotage: str = "", devices: str = "sim:2") -> tuple[int, str]:
    process = start(folder, spec, sabotage, devices)
    output, _ = process.communicate(timeout=120)
    assert rows(folder, "PRAGMA integrity_check") == [("ok",)]
    return process.returncode, output


def statuses(folder: Path) -> dict[str, str]:
    return dict(rows(folder, "SELECT optimizer, status FROM runs ORDER BY id"))


def test_a_cell_beyond_its_wall_seconds_ends_with_what_it_has_measured(tmp_path: Path) -> None:
    code, output = run(tmp_path, LONG + "scheduling: {wall_seconds: 8}\n")
    assert code == 3, output
    assert statuses(tmp_path) == {"sgd": "timeout", "adam": "timeout", "kpsvd": "timeout"}
    kept = rows(tmp_path, "SELECT (SELECT count(*) FROM iterations WHERE run_id = runs.id), error FROM runs")
    assert all(count > 10 and "scheduling.wall_seconds" in error for count, error in kept)


def test_a_worker_that_hangs_is_ended_with_all_that_it_has_started(tmp_path: Path) -> None:
    hang = BEFORE_TRAINING.format(
        "import subprocess, time; "
        'open("child", "w").write(str(subprocess.Popen(["sleep", "1000"]).pid)); '
        "time.sleep(1000)"
    )
    patience = "\n    import suite.scheduling.local as local\n    local.GRACE_SECONDS = 1.0\n"
    code, output = run(tmp_path, TWO + "scheduling: {silent_seconds: 8}\n", hang + patience)
    assert code == 3, output
    assert statuses(tmp_path) == {"sgd": "done", "adam": "timeout", "kpsvd": "done"}
    ((error,),) = rows(tmp_path, "SELECT error FROM runs WHERE status = 'timeout'")
    assert error == "the cell sent nothing for the 8 seconds of scheduling.silent_seconds"
    child = int((tmp_path / "child").read_text())
    assert not is_at_work(child), "a grandchild outlived its worker"


def is_at_work(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_worker_that_sends_garbage_costs_its_cell_and_no_other(tmp_path: Path) -> None:
    garbage = """
        import os, struct
        import suite.scheduling.worker as worker

        train = worker._train

        def sabotaged(connection, device, job):
            if job.cell.optimizer == "adam":
                os.write(connection.fileno(), struct.pack("!i", 5) + b"junk!")
            return train(connection, device, job)

        worker._train = sabotaged
    """
    code, output = run(tmp_path, TWO, garbage)
    assert code == 3, output
    assert statuses(tmp_path) == {"sgd": "done", "adam": "error", "kpsvd": "done"}
    ((error,),) = rows(tmp_path, "SELECT error FROM runs WHERE status = 'error'")
    assert "sent what cannot be read" in error


@pytest.mark.parametrize("retry", [False, True])
def test_out_of_memory_is_said_and_tried_again_alone_if_asked(tmp_path: Path, retry: bool) -> None:
    once = BEFORE_TRAINING.format(
        'import os; first = not os.path.exists("tried"); open("tried", "w").close(); '
        'exec("if first: raise MemoryError(12)")'
    )
    code, output = run(tmp_path, TWO + f"scheduling: {{retry_oom: {str(retry).lower()}}}\n", once)
    found = rows(tmp_path, "SELECT status, contended FROM runs WHERE optimizer = 'adam' ORDER BY id")
    if retry:
        assert code == 0, output
        assert found == [("oom", 1), ("done", 0)], "the second time with nothing beside it"
        ((begun,),) = rows(tmp_path, "SELECT max(started_at) FROM runs")
        assert all(end <= begun for (end,) in rows(tmp_path, "SELECT ended_at FROM runs ORDER BY id LIMIT 3"))
    else:
        assert code == 3, output
        assert found == [("oom", 1)]


def test_nan_from_the_first_step_is_a_divergence_with_its_step_kept(tmp_path: Path) -> None:
    nan = BEFORE_TRAINING.format("self.network[0].weight.data.fill_(float('nan'))")
    code, output = run(tmp_path, TWO, nan)
    assert code == 0, output
    assert statuses(tmp_path) == {"sgd": "done", "adam": "diverged", "kpsvd": "done"}
    query = "SELECT iteration, loss FROM iterations JOIN runs ON runs.id = run_id WHERE optimizer = 'adam'"
    assert rows(tmp_path, query) == [(1, None)]


def test_exclusive_timing_runs_one_cell_at_a_time(tmp_path: Path) -> None:
    code, output = run(tmp_path, TWO + "scheduling: {timing: exclusive}\n")
    assert code == 0, output
    found = rows(tmp_path, "SELECT started_at, ended_at, contended FROM runs ORDER BY started_at")
    assert len(found) == 3
    assert [contended for _, _, contended in found] == [0, 0, 0]
    assert all(earlier[1] <= later[0] for earlier, later in itertools.pairwise(found))


def test_cells_that_share_a_device_are_run_side_by_side(tmp_path: Path) -> None:
    code, output = run(tmp_path, TWO + "scheduling: {slots_per_device: 2}\n", devices="sim:1")
    assert code == 0, output
    assert set(rows(tmp_path, "SELECT device, contended FROM runs")) == {("sim:0/0", 1), ("sim:0/1", 1)}


def test_ctrl_c_twice_stops_at_once_and_keeps_what_was_stored(tmp_path: Path) -> None:
    deaf = BEFORE_TRAINING.format("import time; time.sleep(1000)")
    process = start(tmp_path, LONG, deaf)
    for _ in range(600):
        if process.poll() is None and (tmp_path / "kfsvd-bench.sqlite").exists():
            try:
                if rows(tmp_path, "SELECT count(DISTINCT run_id) FROM iterations") == [(1,)]:
                    break
            except sqlite3.OperationalError:
                pass
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    time.sleep(2)
    assert process.poll() is None, "the deaf worker is waited for"
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert time.monotonic() - begun < 5
    assert process.returncode == 130, output
    assert set(statuses(tmp_path).values()) == {"interrupted"}
    assert rows(tmp_path, "PRAGMA integrity_check") == [("ok",)]
    assert rows(tmp_path, "SELECT count(*) > 10 FROM iterations") == [(1,)]


def test_a_clock_that_is_set_back_loses_nothing(tmp_path: Path) -> None:
    back = """
        import datetime as dt
        import suite.store.store as store

        calls = []

        def now():
            calls.append(None)
            hours = 3 if len(calls) > 4 else 0
            return dt.datetime.now(dt.UTC) - dt.timedelta(hours=hours)

        store._now = now
    """
    code, output = run(tmp_path, TWO, back)
    assert code == 0, output
    assert set(statuses(tmp_path).values()) == {"done"}
    found = rows(tmp_path, "SELECT wall_seconds, (SELECT count(*) FROM iterations WHERE run_id = runs.id) FROM runs")
    assert all(seconds > 0 and count == 60 for seconds, count in found)
    again = subprocess.run(
        command("run", "small.yaml", "--devices", "sim:2", "--json"),
        cwd=tmp_path,
        env=environment(tmp_path) | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(again.stdout)["ended_now"] == {}
