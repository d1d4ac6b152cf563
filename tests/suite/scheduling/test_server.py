"""The server that workers are forked from: what it has loaded, what it leaves alone, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from functools import partial
from importlib import import_module
from pathlib import Path

import pytest

from suite.environment import current_environment
from suite.errors import SuiteError
from suite.scheduling import server
from suite.scheduling.server import answer
from suite.scheduling.slots import THREAD_VARIABLES, accelerators
from tests.benchmarks.random_kills import servers_of, workers_of
from tests.suite.helpers import DEADLINE, SMALL, command, environment, wait_for, write_spec
from tests.suite.scheduling.test_faults import LONG, TWO, is_at_work, rows, run, start, statuses

ROOT = Path(__file__).parents[3]

linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked at in /proc")


def loaded() -> set[str]:
    return set(sys.modules)


def preloaded() -> tuple[str, ...]:
    from suite.scheduling import preload

    return preload.MODULES


def threads_of_the_server() -> int:
    return len(os.listdir(f"/proc/{os.getppid()}/task"))


def has_a_cuda_context() -> bool:
    import torch

    return torch.cuda.is_initialized()


def surroundings() -> tuple[dict[str, str], str, list[str], str | None]:
    return dict(os.environ), os.getcwd(), sys.path, getattr(sys.modules["__main__"], "__file__", None)


def leave() -> None:
    os._exit(7)


def constant(module: str) -> int:
    return int(import_module(module).NUMBER)


def test_a_fork_has_all_that_a_worker_needs() -> None:
    assert set(answer(preloaded)) <= answer(loaded)


@linux
def test_the_server_has_one_thread_and_no_cuda_context() -> None:
    assert answer(threads_of_the_server) == 1
    assert not answer(has_a_cuda_context)


def test_this_machine_is_the_same_seen_from_there() -> None:
    assert answer(current_environment) == current_environment()
    assert answer(accelerators) == accelerators()


def test_a_fork_has_the_surroundings_of_the_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(2):
        (tmp_path / f"{number}").mkdir()
        monkeypatch.chdir(tmp_path / f"{number}")
        monkeypatch.setenv("KFSVD_BENCH_TEST", f"{number}")
        monkeypatch.syspath_prepend(tmp_path / f"{number}")
        variables, folder, path, script = answer(surroundings)
        assert variables == {**os.environ, **dict.fromkeys(THREAD_VARIABLES, "1")}
        assert (Path(folder), path) == (Path.cwd(), sys.path)
        assert script is None, "the script of the command is not run again"


def test_a_module_of_the_user_is_imported_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    for number in (3, 44):
        (tmp_path / "users_own.py").write_text(f"NUMBER = {number}\n")
        assert answer(partial(constant, "users_own")) == number


def test_a_folder_does_not_take_the_place_of_what_the_server_loads(tmp_path: Path) -> None:
    write_spec(tmp_path, SMALL.replace("seeds: [0, 1]", "seeds: [0]"))
    for name in ("suite", "torch", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the file of the folder')\n")
    script = tmp_path / "elsewhere" / "script.py"
    script.parent.mkdir()
    script.write_text("from suite.cli import main\nmain()\n")
    done = subprocess.run(
        [sys.executable, script, "run", "small.yaml", "--select", "optimizer=sgd", "--devices", "cpu:1"],
        cwd=tmp_path,
        env=environment(tmp_path) | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "the file of the folder" not in done.stderr


def test_a_process_that_ends_without_an_answer_is_an_error() -> None:
    with pytest.raises(SuiteError, match="exit code 7"):
        answer(leave)


def test_a_long_folder_of_temporary_files_has_no_room_for_the_servers_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ("long" * 20)
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", "/tmp")
    forks = server.can_fork()
    assert forks is (sys.platform != "darwin")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    assert not server.can_fork()
    assert answer(os.getpid) != os.getpid(), "it is spawned"


def test_where_nothing_can_be_forked_processes_are_spawned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "can_fork", lambda: False)
    assert "suite.scheduling.preload" not in answer(loaded)
    assert answer(surroundings)[0] == {**os.environ, **dict.fromkeys(THREAD_VARIABLES, "1")}


def test_a_run_loads_nothing_heavy_into_the_command(tmp_path: Path) -> None:
    write_spec(tmp_path, TWO)
    script = (
        "import sys\n"
        "sys.argv = ['kfsvd-bench', 'run', 'small.yaml', '--devices', 'auto']\n"
        "from suite.cli import main\n"
        "try:\n    main()\nexcept SystemExit as left:\n    assert left.code == 0, left.code\n"
        "print('heavy:', {'torch', 'sklearn', 'scipy', 'matplotlib', 'pandas'} & set(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment(tmp_path) | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "heavy: set()"
    assert set(statuses(tmp_path).values()) == {"done"}


@pytest.mark.slow
def test_a_command_without_standard_input_runs(tmp_path: Path) -> None:
    write_spec(tmp_path, TWO)
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$0" "$@" <&-', *command("run", "small.yaml", "--devices", "sim:2")],
        cwd=tmp_path,
        env=environment(tmp_path) | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def at_work(folder: Path, process: subprocess.Popen[str]) -> tuple[list[int], list[int]]:
    """The server and the workers of a command, once a cell has stored iterations."""
    wait_for(lambda: process.poll() is not None or rows(folder, "SELECT count(*) FROM iterations") > [(0,)])
    assert process.poll() is None, process.communicate()
    return servers_of(process.pid), workers_of(process.pid)


@linux
@pytest.mark.slow
def test_a_killed_command_leaves_no_server(tmp_path: Path) -> None:
    process = start(tmp_path, LONG)
    servers, workers = at_work(tmp_path, process)
    assert len(servers) == 1
    assert workers
    process.kill()
    process.communicate(timeout=DEADLINE)
    wait_for(lambda: not any(map(is_at_work, [*servers, *workers])))
    assert process.returncode == -9


@linux
@pytest.mark.slow
def test_a_command_that_is_killed_while_its_server_loads_leaves_none(tmp_path: Path) -> None:
    process = start(tmp_path, LONG)
    wait_for(lambda: process.poll() is not None or servers_of(process.pid))
    assert process.poll() is None, process.communicate()
    servers = servers_of(process.pid)
    process.kill()
    process.communicate(timeout=DEADLINE)
    wait_for(lambda: not any(map(is_at_work, servers)))
    assert process.returncode == -9


@linux
@pytest.mark.slow
def test_a_killed_server_costs_the_cells_at_hand_and_no_other(tmp_path: Path) -> None:
    process = start(tmp_path, LONG.replace("seconds: 60", "seconds: 4"), devices="sim:1")
    (before,), workers = at_work(tmp_path, process)
    os.kill(before, signal.SIGKILL)
    output, _ = process.communicate(timeout=DEADLINE)
    assert process.returncode == 3, output
    assert not any(map(is_at_work, workers))
    assert sorted(statuses(tmp_path).values()) == ["done", "done", "error"]


@linux
@pytest.mark.slow
def test_an_interrupt_of_the_terminal_is_the_commands_alone(tmp_path: Path) -> None:
    write_spec(tmp_path, LONG)
    process = subprocess.Popen(
        command("run", "small.yaml", "--devices", "sim:1"),
        cwd=tmp_path,
        env=environment(tmp_path) | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    at_work(tmp_path, process)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=DEADLINE)
    assert process.returncode == 130, output
    assert "Traceback" not in output
    assert statuses(tmp_path) == {"sgd": "interrupted"}


@pytest.mark.slow
def test_a_broken_import_is_told_by_the_worker(tmp_path: Path) -> None:
    broken = """
        import sys
        sys.modules["torch._dynamo"] = None
        sys.modules["suite.training.loop"] = None
    """
    code, output = run(tmp_path, TWO, broken, devices="sim:1")
    assert code == 3, output
    assert set(statuses(tmp_path).values()) == {"error"}
    assert "suite.training.loop" in rows(tmp_path, "SELECT error FROM runs LIMIT 1")[0][0]
