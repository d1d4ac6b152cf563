"""The SLURM executor, with submitit's jobs on this machine: shards, folding, and a command that is killed meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from suite.scheduling.executor import beside
from tests.suite.helpers import DEADLINE, SMALL, command, environment, wait_for, write_spec
from tests.suite.scheduling.test_faults import BEFORE_TRAINING, is_at_work, rows, statuses
from tests.suite.specs import changed, faults

pytest.importorskip("submitit")

ROOT = Path(__file__).parents[3]
LOCAL = "scheduling: {slurm: {cluster: local, minutes: 5, parallel: 2}}\n"
THREE = SMALL.replace("seeds: [0, 1]", "seeds: [0]").replace("  kfac: {", "  # kfac: {") + LOCAL
LOSSES = (
    "SELECT optimizer, iteration, loss, NULL FROM iterations JOIN runs ON runs.id = run_id UNION ALL "
    "SELECT optimizer, iteration, train_loss, test_loss FROM evaluations JOIN runs ON runs.id = run_id UNION ALL "
    "SELECT optimizer || layer || approximation || own, iteration, in_batch, held_out FROM fisher_errors "
    "JOIN runs ON runs.id = run_id ORDER BY 1, 2, 3"
)


def start(
    folder: Path, *options: str, sabotage: str = "", extra: dict[str, str] | None = None
) -> subprocess.Popen[bytes]:
    (folder / "sitecustomize.py").write_text(textwrap.dedent(sabotage))
    with (folder / "output.txt").open("w") as output:  # no pipe, which jobs would hold open beyond the command's end
        return subprocess.Popen(
            command("run", "small.yaml", *options),
            cwd=folder,
            env=environment(folder) | {"PYTHONPATH": f"{folder}:{ROOT}"} | (extra or {}),
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def run(folder: Path, *options: str, sabotage: str = "", extra: dict[str, str] | None = None) -> tuple[int, str]:
    process = start(folder, *options, sabotage=sabotage, extra=extra)
    code = process.wait(DEADLINE)
    return code, (folder / "output.txt").read_text()


GO_ON = "go on"


def held(folder: Path, optimizer: str = "adam") -> str:
    """A sabotage: the cell of an optimizer does not begin before the file `GO_ON` is there."""
    wait = f"import os, time\nwhile not os.path.exists({str(folder / GO_ON)!r}): time.sleep(0.05)"
    return BEFORE_TRAINING.replace('"adam"', f'"{optimizer}"').format(f"exec({wait!r})")


def submitted(folder: Path) -> int:
    return len(list(folder.glob("kfsvd-bench.shards/*/jobs/*_submitted.pkl")))


@pytest.mark.slow
def test_jobs_measure_what_local_workers_do_to_the_last_bit(tmp_path: Path) -> None:
    write_spec(tmp_path, THREE)
    code, output = run(tmp_path, "--executor", "slurm")
    assert code == 0, output
    assert statuses(tmp_path) == dict.fromkeys(("sgd", "adam", "kpsvd"), "done")
    assert submitted(tmp_path) == 3
    assert not list(tmp_path.glob("kfsvd-bench.shards/*/*.json")), "every job is collected"
    assert "60 iterations" in output
    found = rows(tmp_path, LOSSES)
    assert len(found) > 3 * 64
    code, output = run(tmp_path, "--executor", "slurm")
    assert code == 0, output
    assert "3 of 3 cells are measured already" in output
    assert submitted(tmp_path) == 3
    (tmp_path / "kfsvd-bench.sqlite").unlink()
    code, output = run(tmp_path, "--devices", "sim:1")
    assert code == 0, output
    assert rows(tmp_path, LOSSES) == found


@pytest.mark.slow
def test_a_command_that_is_killed_and_called_again_submits_nothing_twice(tmp_path: Path) -> None:
    write_spec(tmp_path, THREE)
    slow = held(tmp_path)
    process = start(tmp_path, "--executor", "slurm", sabotage=slow)
    wait_for(lambda: submitted(tmp_path) == 3)
    process.kill()
    process.wait()
    assert len(list(tmp_path.glob("kfsvd-bench.shards/*/jobs/*_result.pkl"))) < 3, "jobs are at work"
    (tmp_path / GO_ON).touch()
    code, output = run(tmp_path, "--executor", "slurm", sabotage=slow)
    assert code == 0, output
    assert submitted(tmp_path) == 3
    assert rows(tmp_path, "SELECT optimizer, status FROM runs ORDER BY 1") == [
        ("adam", "done"),
        ("kpsvd", "done"),
        ("sgd", "done"),
    ]


@pytest.mark.slow
def test_a_job_that_is_killed_costs_its_cell_and_keeps_what_it_measured(tmp_path: Path) -> None:
    write_spec(tmp_path, THREE.replace("iterations: 60", "iterations: 400"))
    slow = """
        import os, signal, time
        import suite.training.loop as training

        train = training.Training.__iter__

        def sabotaged(self):
            training.RECORD_SECONDS = 0.0
            for number, records in enumerate(train(self)):
                yield records
                if self.cell.optimizer == "adam" and number == 100:
                    time.sleep(2.5)
                if self.cell.optimizer == "adam" and number == 101:
                    time.sleep(2.5)
                    print("these are my last words", file=__import__("sys").stderr, flush=True)
                    os.kill(os.getpid(), signal.SIGKILL)

        training.Training.__iter__ = sabotaged
    """
    code, output = run(tmp_path, "--executor", "slurm", sabotage=slow)
    assert code == 3, output
    assert statuses(tmp_path) == {"sgd": "done", "adam": "error", "kpsvd": "done"}
    query = "SELECT error, (SELECT count(*) FROM iterations WHERE run_id = runs.id) FROM runs WHERE status = 'error'"
    ((error, count),) = rows(tmp_path, query)
    assert "ended without a word" in error
    assert "these are my last words" in error
    assert 100 <= count < 400


@pytest.mark.slow
def test_a_job_that_dies_before_its_cell_is_an_error_with_its_output(tmp_path: Path) -> None:
    write_spec(tmp_path, THREE.replace("  adam", "  # adam").replace("  sgd", "  # sgd"))
    dies = """
        import sys
        if "submitit.core._submit" in " ".join(sys.orig_argv):
            sys.exit("no such thing as a good start")
    """
    code, output = run(tmp_path, "--executor", "slurm", sabotage=dies)
    assert code == 3, output
    ((status, error),) = rows(tmp_path, "SELECT status, error FROM runs")
    assert status == "error"
    assert "no such thing as a good start" in error


@pytest.mark.slow
def test_a_cell_beyond_its_wall_seconds_ends_its_job(tmp_path: Path) -> None:
    long = THREE.replace("iterations: 60", "seconds: 100").replace("  adam", "  # adam").replace("  sgd", "  # sgd")
    write_spec(tmp_path, long.replace("scheduling: {", "scheduling: {wall_seconds: 1, "))
    code, output = run(tmp_path, "--executor", "slurm")
    assert code == 3, output
    ((status, error),) = rows(tmp_path, "SELECT status, error FROM runs")
    assert status == "timeout"
    assert "scheduling.wall_seconds" in error
    assert rows(tmp_path, "SELECT count(*) > 0 FROM iterations") == [(1,)], "what it had sent before it was asked"


@pytest.mark.usefixtures("working_folder")
@pytest.mark.parametrize("name", ["a b", "gpu\\n#SBATCH --wrap=x", "", "$(x)", "gpu;x"])
def test_a_name_in_a_batch_script_can_be_nothing_else(name: str) -> None:
    text = changed("budget: {iter", f'scheduling: {{slurm: {{partition: "{name}"}}}}\nbudget: {{iter', text=SMALL)
    (fault,) = faults(text)
    assert "scheduling.slurm.partition" in fault


def test_without_slurm_it_says_what_there_is(tmp_path: Path) -> None:
    write_spec(tmp_path, THREE.replace("cluster: local, ", ""))
    code, output = run(tmp_path, "--executor", "slurm", extra={"PATH": str(tmp_path)})
    assert code == 2, output
    assert "srun" in output
    assert "cluster: local" in output


def test_options_of_another_executor_are_refused(tmp_path: Path) -> None:
    write_spec(tmp_path, THREE)
    code, output = run(tmp_path, "--shards", "x")
    assert (code, "--shards is an option of --executor slurm, not of local" in output) == (2, True)
    code, output = run(tmp_path, "--executor", "slurm", "--address", "auto")
    assert (code, "--address is an option of --executor ray, not of slurm" in output) == (2, True)


def test_memory_to_be_retried_in_is_refused_where_every_job_has_its_own(tmp_path: Path) -> None:
    write_spec(tmp_path, THREE.replace("scheduling: {", "scheduling: {retry_oom: true, "))
    code, output = run(tmp_path, "--executor", "slurm")
    assert code == 2, output
    assert "scheduling.retry_oom" in output
    assert "scheduling.slurm.memory_gb" in output
    assert submitted(tmp_path) == 0


def test_shards_lie_beside_the_store() -> None:
    assert beside("sqlite:///some/where/results.sqlite", "shards") == Path("some/where/results.shards")
    assert beside("sqlite:///kfsvd-bench.sqlite", "logs") == Path("kfsvd-bench.logs")


def test_every_store_on_a_server_has_a_folder_of_its_own() -> None:
    urls = [
        "sqlite:///kfsvd-bench.sqlite",
        "postgresql+psycopg://host/name",
        "postgresql+psycopg://host/other",
        "postgresql+psycopg://elsewhere/name",
        "postgresql+psycopg://me@host/name",
    ]
    folders = [beside(url, "logs") for url in urls]
    assert len(set(folders)) == len(urls)
    assert re.fullmatch(r"kfsvd-bench-[0-9a-f]{8}\.logs", str(folders[1]))
    for same in ("postgresql+psycopg://me:secret@host/name", "postgresql+psycopg://me@host/name?password=secret"):
        assert beside(same, "logs") == folders[-1], "a new password is no new store"


SBATCH = """\
#!{python}
# One task after the other, as a cluster of one node would.
import json, os, re, subprocess, sys
script = open(sys.argv[1]).read()
open("sbatch.txt", "a").write(script)
last = re.search(r"#SBATCH --array=0-(\\d+)%", script)
print("Submitted batch job 77", flush=True)
tasks = range(int(last[1]) + 1) if last else [None]
if os.fork():
    os._exit(0)
out = os.open("sbatch.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
os.dup2(out, 1)
os.dup2(out, 2)
import glob, time
for _ in range(12000):  # until the command has noted every job
    if len(glob.glob("elsewhere/*/*.json")) == len(tasks):
        break
    time.sleep(0.05)
for task in tasks:
    number = {{"SLURM_JOB_ID": str(100 + (task or 0)) if last else "77"}}
    if last:
        number |= {{"SLURM_ARRAY_JOB_ID": "77", "SLURM_ARRAY_TASK_ID": str(task)}}
    subprocess.run(["bash", sys.argv[1]], env=os.environ | number | {{"SLURM_PROCID": "0"}})
"""
SRUN = """\
#!{python}
import os, sys
at = next(i for i, argument in enumerate(sys.argv) if argument == {python!r})
os.execv(sys.argv[at], sys.argv[at:])
"""


@pytest.mark.slow
def test_an_array_of_jobs_through_sbatch(tmp_path: Path) -> None:
    """SLURM's own commands are stood in for by scripts that run an array's tasks in turn."""
    for name, text in (("sbatch", SBATCH), ("srun", SRUN), ("sacct", "#!/bin/sh\n")):
        (tmp_path / name).write_text(text.format(python=sys.executable))
        (tmp_path / name).chmod(0o755)
    asked = "partition: long, account: me, minutes: 90, cpus: 1, memory_gb: 4, parallel: 5"
    write_spec(tmp_path, THREE.replace("cluster: local, minutes: 5, parallel: 2", asked).replace("  adam", "  # adam"))
    path = f"{tmp_path}:{os.environ['PATH']}"
    code, output = run(tmp_path, "--executor", "slurm", "--shards", "elsewhere", extra={"PATH": path})
    log = tmp_path / "sbatch.log"
    assert code == 0, output + (log.read_text() if log.exists() else "no job was submitted")
    script = (tmp_path / "sbatch.txt").read_text()
    for line in ("array=0-1%2", "partition=long", "account=me", "time=90", "cpus-per-task=1", "mem=4GB"):
        assert f"#SBATCH --{line}\n" in script, line
    assert "job:77_1" in output
    assert statuses(tmp_path) == {"sgd": "done", "kpsvd": "done"}
    assert len(list(tmp_path.glob("elsewhere/*/*.sqlite"))) == 2


@pytest.mark.slow
def test_what_ended_the_jobs_of_another_command_is_not_held_against_them(tmp_path: Path) -> None:
    write_spec(tmp_path, THREE)
    process = start(tmp_path, "--executor", "slurm", sabotage=held(tmp_path, "sgd"))
    wait_for(lambda: len(jobs(tmp_path)) == 2)
    process.send_signal(signal.SIGINT)
    assert process.wait(DEADLINE) == 130
    left = jobs(tmp_path)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)  # to the job's controller, as a terminal does
    wait_for(lambda: not any(map(is_at_work, left)))
    code, output = run(tmp_path, "--executor", "slurm")
    assert code == 0, output
    assert rows(tmp_path, "SELECT count(DISTINCT cell_key) FROM runs WHERE status = 'done'") == [(3,)]


def jobs(folder: Path) -> list[int]:
    """Those that no command has collected."""
    return [int(json.loads(note.read_text())["job"]) for note in folder.glob("kfsvd-bench.shards/*/*.json")]
