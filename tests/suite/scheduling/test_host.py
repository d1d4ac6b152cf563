"""Exclusive timing is alone on its host: commands on stores of their own wait for each other."""

from __future__ import annotations

import fcntl
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from suite.scheduling.host import LOCK, _opened, _taken
from tests.suite.helpers import DEADLINE, SMALL, command, environment, wait_for, write_spec
from tests.suite.stores import rows

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
LONG = SMALL.replace("iterations: 60", "iterations: 10000000, seconds: 600").replace("fisher_every: 30, ", "")


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list[subprocess.Popen[str]]]:
    """Commands that do not outlive a test, on a host of their own as far as the lock goes."""
    (tmp_path / "tmp").mkdir()
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def start(folder: Path, timing: str, name: str, text: str = SMALL) -> subprocess.Popen[str]:
    write_spec(folder, f"{text}scheduling: {{timing: {timing}}}\n", f"{name}.yaml")
    one = ("--devices", "sim:1", "--select", "optimizer=sgd,seed=0", "--db", f"sqlite:///{name}.sqlite")
    return subprocess.Popen(
        command("run", f"{name}.yaml", *one),
        cwd=folder,
        env=environment(folder) | {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder / "tmp")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def until(process: subprocess.Popen[str], word: str) -> str:
    """What it says up to a line with a word in it."""
    said = ""
    assert process.stdout is not None
    for line in process.stdout:
        said += line
        if word in line:
            return said
    raise AssertionError(f"it ended without saying {word!r}: {said}")


def is_taken(folder: Path) -> bool:
    """Whether a command has the lock, and so begins with its cell."""
    try:
        with (folder / "tmp" / LOCK).open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("second", [True, False])
def test_the_lock_is_shared_where_neither_is_exclusive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, first: bool, second: bool
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with _opened(needed=True) as one, _opened(needed=True) as other:
        assert _taken(one, exclusive=first)
        assert _taken(other, exclusive=second) is not (first or second)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "second"), [("exclusive", "exclusive"), ("exclusive", "packed"), ("packed", "exclusive")]
)
def test_exclusive_timing_is_alone_on_its_host(
    tmp_path: Path, started: list[subprocess.Popen[str]], first: str, second: str
) -> None:
    started.append(start(tmp_path, first, "a", LONG))
    wait_for(lambda: is_taken(tmp_path) or started[0].poll() is not None)
    assert started[0].poll() is None, started[0].communicate()[0]
    started.append(start(tmp_path, second, "b"))
    until(started[1], "for other commands on this host")
    assert rows(f"sqlite:///{tmp_path}/b.sqlite", "SELECT count(*) FROM runs") == [(0,)]
    wait_for(lambda: rows(f"sqlite:///{tmp_path}/a.sqlite", "SELECT count(*) FROM iterations") > [(0,)])
    started[0].send_signal(signal.SIGINT)
    outputs = [process.communicate(timeout=DEADLINE)[0] for process in started]
    assert [process.returncode for process in started] == [130, 0], outputs
    assert "for other commands on this host" not in outputs[0]
    ((ended,),) = rows(f"sqlite:///{tmp_path}/a.sqlite", "SELECT ended_at FROM runs WHERE status = 'interrupted'")
    ((began,),) = rows(f"sqlite:///{tmp_path}/b.sqlite", "SELECT started_at FROM runs WHERE status = 'done'")
    assert str(ended) <= str(began)


@pytest.mark.slow
def test_packed_commands_run_beside_each_other_and_who_waits_is_ended_by_ctrl_c(
    tmp_path: Path, started: list[subprocess.Popen[str]]
) -> None:
    with (tmp_path / "tmp" / LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)  # as a packed command has it
        started.append(start(tmp_path, "packed", "a"))
        started.append(start(tmp_path, "exclusive", "b"))
        until(started[1], "waiting")
        started[1].send_signal(signal.SIGINT)
        output, _ = started[1].communicate(timeout=DEADLINE)
        assert started[1].returncode == 130, output
        assert rows(f"sqlite:///{tmp_path}/b.sqlite", "SELECT count(*) FROM runs") == [(0,)]
        output, _ = started[0].communicate(timeout=DEADLINE)
        assert started[0].returncode == 0, output
        assert "waiting" not in output
