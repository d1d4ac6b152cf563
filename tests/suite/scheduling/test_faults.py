"""Workers that hang, lie, run out of memory or never come to an end: each for real, in a process of its own.

What goes wrong is brought in from outside, by a `sitecustomize` module that Python imports in every process it starts
here; nothing in the suite knows of it.
"""

from __future__ import annotations

import itertools
import signal
import sqlite3
import subprocess
import textwrap
from pathlib import Path
from typing import Any

import pytest

from suite.scheduling.output import KEPT_BYTES
from suite.scheduling.slots import parse_devices
from tests.benchmarks.random_kills import workers_of
from tests.reliability import Evidence, fault
from tests.suite.helpers import DEADLINE, SMALL, bench, command, environment, wait_for, write_spec
from tests.suite.scheduling.tracing import TRACE, seconds_lost

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]
TWO = SMALL.replace("seeds: [0, 1]", "seeds: [0]").replace("fisher_every: 30, ", "").replace("  kfac: {", "  # kfac: {")
LONG = TWO.replace("iterations: 60", "iterations: 100000, seconds: 60")
SECONDS = TWO.replace("iterations: 60", "iterations: 100000, seconds: 2")

BEFORE_TRAINING = """
    import suite.training.loop as training

    train = training.Training.__iter__

    def sabotaged(self):
        if self.cell.optimizer == "adam":
            {}
        yield from train(self)

    training.Training.__iter__ = sabotaged
"""

PATIENCE = """
    import os
    import suite.scheduling.local as local
    from suite.scheduling.queue import Attempt

    local.GRACE_SECONDS = 1.0
    overdue = Attempt.overdue

    def once_it_hangs(attempt, rules):
        hangs = attempt.cell.optimizer == "adam" and os.path.exists("child")
        return overdue(attempt, rules) if hangs else None

    Attempt.overdue = once_it_hangs
"""
"""Only the cell of adam is timed, and only once it hangs: a busy machine takes seconds to load what others train on."""

ONCE_IT_TRAINS = """
    import os
    import suite.training.loop as training
    from suite.scheduling.queue import Attempt

    train, overdue = training.Training.__iter__, Attempt.overdue

    def marked(self):
        steps = 0
        for records in train(self):
            yield records
            steps += len(records.iterations)
            if steps > 10:
                open(self.cell.optimizer, "w").close()

    def once_it_trains(attempt, rules):
        return overdue(attempt, rules) if os.path.exists(attempt.cell.optimizer) else None

    training.Training.__iter__, Attempt.overdue = marked, once_it_trains
"""
"""A cell is timed once it has sent more than ten steps: a busy machine takes longer than that to come to them."""


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
    output, _ = process.communicate(timeout=DEADLINE)
    assert rows(folder, "PRAGMA integrity_check") == [("ok",)]
    return process.returncode, output


def finishes(folder: Path, spec: str, evidence: Evidence, cells: int = 3) -> None:
    """The same command, once the fault is gone, does what is left; what was flushed before is still there."""
    url = f"sqlite:///{folder}/kfsvd-bench.sqlite"
    before = rows(folder, "SELECT run_id, count(*), max(iteration) FROM iterations GROUP BY run_id")
    evidence.whole(url)
    if not evidence.lost:  # what was done is complete, and nothing else had begun
        evidence.lost_nothing(url, 60)
    code, output = run(folder, spec)
    assert code == 0, output
    evidence.once(url, cells)
    after = rows(folder, "SELECT run_id, count(*), max(iteration) FROM iterations GROUP BY run_id")
    assert set(before) <= set(after)


def statuses(folder: Path) -> dict[str, str]:
    return dict(rows(folder, "SELECT optimizer, status FROM runs ORDER BY id"))


def test_a_cell_beyond_its_wall_seconds_ends_with_what_it_has_measured(tmp_path: Path) -> None:
    code, output = run(tmp_path, LONG + "scheduling: {wall_seconds: 8}\n", ONCE_IT_TRAINS)
    assert code == 3, output
    assert statuses(tmp_path) == {"sgd": "timeout", "adam": "timeout", "kpsvd": "timeout"}
    kept = rows(tmp_path, "SELECT (SELECT count(*) FROM iterations WHERE run_id = runs.id), error FROM runs")
    assert all(count > 10 and "scheduling.wall_seconds" in error for count, error in kept)


@fault("a worker hangs", "it sleeps in the middle of its cell, with a process that it has started")
def test_a_worker_that_hangs_is_ended_with_all_that_it_has_started(tmp_path: Path, evidence: Evidence) -> None:
    hang = BEFORE_TRAINING.format(
        "import subprocess, time; "
        'open("child", "w").write(str(subprocess.Popen(["sleep", "1000"]).pid)); '
        "time.sleep(1000)"
    )
    code, output = run(tmp_path, TWO + "scheduling: {silent_seconds: 2}\n", hang + PATIENCE)
    evidence.ended(code, 3, output)
    assert statuses(tmp_path) == {"sgd": "done", "adam": "timeout", "kpsvd": "done"}
    ((error,),) = rows(tmp_path, "SELECT error FROM runs WHERE status = 'timeout'")
    assert error == "the cell sent nothing for the 2 seconds of scheduling.silent_seconds"
    child = int((tmp_path / "child").read_text())
    assert not is_at_work(child), "a grandchild outlived its worker"
    finishes(tmp_path, TWO, evidence)


def test_a_cell_that_was_silent_for_too_long_and_goes_on_is_timed_out_with_the_reason(tmp_path: Path) -> None:
    nap = BEFORE_TRAINING.format('import time; open("child", "w").close(); time.sleep(5)')
    graceful = PATIENCE.replace("GRACE_SECONDS = 1.0", "GRACE_SECONDS = 60.0")
    code, output = run(tmp_path, TWO + "scheduling: {silent_seconds: 2}\n", nap + graceful)
    assert code == 3, output
    assert statuses(tmp_path) == {"sgd": "done", "adam": "timeout", "kpsvd": "done"}
    query = "SELECT error, (SELECT count(*) FROM iterations WHERE run_id = runs.id) > 0 FROM runs"
    found = rows(tmp_path, query + " WHERE status = 'timeout'")
    assert found == [("the cell sent nothing for the 2 seconds of scheduling.silent_seconds", 1)]


def is_at_work(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_cell_that_ends_without_a_result_is_no_success(tmp_path: Path) -> None:
    gone = BEFORE_TRAINING.format("import suite.scheduling.worker as worker; raise worker._InterruptedError")
    code, output = run(tmp_path, TWO, gone)
    assert code == 3, output
    assert "1 cells have no result: the same command measures them." in output
    assert statuses(tmp_path) == {"sgd": "done", "adam": "interrupted", "kpsvd": "done"}
    code, output = run(tmp_path, TWO)
    assert code == 0, output
    assert "no result" not in output


@fault("a worker sends garbage", "bytes that are no message on its pipe to the scheduler")
def test_a_worker_that_sends_garbage_costs_its_cell_and_no_other(tmp_path: Path, evidence: Evidence) -> None:
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
    evidence.ended(code, 3, output)
    assert statuses(tmp_path) == {"sgd": "done", "adam": "error", "kpsvd": "done"}
    ((error,),) = rows(tmp_path, "SELECT error FROM runs WHERE status = 'error'")
    assert "sent what cannot be read" in error
    evidence.lost = "what this worker would have sent after it"
    finishes(tmp_path, TWO, evidence)


@fault("a worker prints garbage", "2 MB of random bytes on its standard output and error, with orders for a terminal")
def test_a_worker_that_prints_garbage_costs_nothing(tmp_path: Path, evidence: Evidence) -> None:
    garbage = BEFORE_TRAINING.format(
        "import os, random; r = random.Random(0); "
        '[os.write(1 + n % 2, r.randbytes(1000) + b"\\x1b[2J\\n") for n in range(2000)]'
    )
    code, output = run(tmp_path, TWO, garbage)
    evidence.ended(code, 0, output)
    assert "\x1b" not in output
    (kept,) = (tmp_path / "kfsvd-bench.logs").iterdir()
    assert KEPT_BYTES < kept.stat().st_size < 2 * KEPT_BYTES + 2**16
    shown = bench(tmp_path, "logs", "optimizer=adam")
    assert shown.returncode == 0
    assert "\\x1b[2J" in shown.stdout
    assert "\x1b" not in shown.stdout
    finishes(tmp_path, TWO, evidence)


@fault("a cell runs out of memory", "MemoryError in its first attempt, without and with retry_oom")
@pytest.mark.parametrize("retry", [False, True])
def test_out_of_memory_is_said_and_tried_again_alone_if_asked(tmp_path: Path, retry: bool, evidence: Evidence) -> None:
    once = BEFORE_TRAINING.format(
        'import os; first = not os.path.exists("tried"); open("tried", "w").close(); '
        'exec("if first: raise MemoryError(12)")'
    )
    code, output = run(tmp_path, TWO + f"scheduling: {{retry_oom: {str(retry).lower()}}}\n", once)
    found = rows(tmp_path, "SELECT status, contended FROM runs WHERE optimizer = 'adam' ORDER BY id")
    evidence.ended(code, 0 if retry else 3, output)
    if retry:
        assert found == [("oom", 1), ("done", 0)], "the second time with nothing beside it"
        ((begun,),) = rows(tmp_path, "SELECT max(started_at) FROM runs")
        assert all(end <= begun for (end,) in rows(tmp_path, "SELECT ended_at FROM runs ORDER BY id LIMIT 3"))
    else:
        assert found == [("oom", 1)]
    finishes(tmp_path, TWO, evidence)


@fault("NaN from the first step", "weights set to NaN before the training of a cell; it counts as a divergence")
def test_nan_from_the_first_step_is_a_divergence_with_its_step_kept(tmp_path: Path, evidence: Evidence) -> None:
    nan = BEFORE_TRAINING.format("self.network[0].weight.data.fill_(float('nan'))")
    code, output = run(tmp_path, TWO, nan)
    evidence.ended(code, 0, output)
    assert statuses(tmp_path) == {"sgd": "done", "adam": "diverged", "kpsvd": "done"}
    query = "SELECT iteration, loss FROM iterations JOIN runs ON runs.id = run_id WHERE optimizer = 'adam'"
    assert rows(tmp_path, query) == [(1, None)]
    finishes(tmp_path, TWO, evidence)
    assert statuses(tmp_path)["adam"] == "diverged", "it is a result, and not measured again"


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


@pytest.mark.parametrize("devices", ["cpu:1", "cpu:2"])
def test_a_worker_has_the_cores_and_threads_of_its_slot(tmp_path: Path, devices: str) -> None:
    tell = (
        "import os, torch, threadpoolctl; "
        "print(sorted(os.sched_getaffinity(0)), torch.get_num_threads(), os.environ['OMP_NUM_THREADS'], "
        "{each['num_threads'] for each in threadpoolctl.threadpool_info() if each['user_api'] == 'blas'})"
    )
    code, output = run(tmp_path, TWO, BEFORE_TRAINING.format(tell), devices=devices)
    assert code == 0, output
    ((device,),) = rows(tmp_path, "SELECT device FROM runs WHERE optimizer = 'adam'")
    (slot,) = [slot for slot in parse_devices(devices) if slot.name == device]
    told = bench(tmp_path, "logs", "optimizer=adam").stdout.splitlines()
    assert f"{sorted(slot.cores)} {slot.threads} {slot.threads} {{{slot.threads}}}" in told


@fault("Ctrl-C twice", "SIGINT two times, while a worker does not answer the first: all stops at once")
def test_ctrl_c_twice_stops_at_once_and_keeps_what_was_stored(tmp_path: Path, evidence: Evidence) -> None:
    deaf = BEFORE_TRAINING.format('import time; open("deaf", "w").close(); time.sleep(1000)')
    patient = "\nimport suite.scheduling.local as local\n\nlocal.GRACE_SECONDS = 1e6\n"  # the second one alone ends it
    process = start(tmp_path, SECONDS, TRACE + textwrap.dedent(deaf) + patient)
    wait_for(lambda: (tmp_path / "deaf").exists() and rows(tmp_path, "SELECT count(*) FROM iterations") > [(10,)])
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    assert any("Ctrl-C" in line for line in process.stdout), "it is heeded, and the deaf worker waited for"
    workers = workers_of(process.pid)
    assert workers
    process.send_signal(signal.SIGINT)
    wait_for(lambda: not any(map(is_at_work, workers)))
    output, _ = process.communicate(timeout=DEADLINE)
    evidence.ended(process.returncode, 130, output)
    evidence.lost_at_most(seconds_lost(tmp_path))
    assert statuses(tmp_path)["adam"] == "interrupted"
    assert rows(tmp_path, "SELECT count(*) > 10 FROM iterations") == [(1,)]
    finishes(tmp_path, SECONDS, evidence)


@fault("the machine's clock is set back", "three hours, once the first cell has begun, for all that the command stores")
def test_a_clock_that_is_set_back_loses_nothing(tmp_path: Path, evidence: Evidence) -> None:
    back = """
        import datetime as dt
        import suite.store.store as store

        clock, calls = store.Store._clock, []

        def set_back(self):
            calls.append(None)
            return clock(self) - dt.timedelta(hours=3 if len(calls) > 5 else 0)

        store.Store._clock = set_back
    """
    code, output = run(tmp_path, TWO, back)
    evidence.ended(code, 0, output)
    assert rows(tmp_path, "SELECT count(*) FROM runs WHERE ended_at < started_at") > [(0,)], "it was set back"
    assert set(statuses(tmp_path).values()) == {"done"}
    found = rows(tmp_path, "SELECT wall_seconds, (SELECT count(*) FROM iterations WHERE run_id = runs.id) FROM runs")
    assert all(seconds > 0 and count == 60 for seconds, count in found)
    finishes(tmp_path, TWO, evidence)
    assert rows(tmp_path, "SELECT count(*) FROM runs") == [(3,)], "nothing was measured again"
