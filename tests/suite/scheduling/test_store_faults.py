"""A store that fails under a command: one clear message, nothing flushed is lost, and the same command goes on."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.suite.helpers import SMALL, command, environment, write_spec

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
CELL = SMALL.replace("iterations: 60", "iterations: 4000").replace("fisher_every: 30, ", "")
LONG = CELL.replace("iterations: 4000", "iterations: 24000")  # several flushes on any machine
STORE = "small/store.sqlite"


def start(folder: Path, sabotage: str = "", spec: str = CELL) -> subprocess.Popen[str]:
    write_spec(folder, spec)
    (folder / "sitecustomize.py").write_text(sabotage)
    arguments = ("run", "small.yaml", "--devices", "sim:1", "--select", "optimizer=sgd,seed=0")
    return subprocess.Popen(
        command(*arguments, "--db", f"sqlite:///{STORE}"),
        cwd=folder,
        env=environment(folder) | {"PYTHONPATH": f"{folder}:{ROOT}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(folder: Path, sabotage: str = "", spec: str = CELL) -> tuple[int, str]:
    process = start(folder, sabotage, spec)
    output, _ = process.communicate(timeout=120)
    return process.returncode, output


def query(folder: Path, text: str) -> list[Any]:
    with closing(sqlite3.connect(folder / STORE)) as connection:
        return connection.execute(text).fetchall()


def wait_for_iterations(folder: Path, process: subprocess.Popen[str]) -> None:
    for _ in range(900):
        assert process.poll() is None, process.communicate()
        try:
            if query(folder, "SELECT count(*) FROM iterations") > [(0,)]:
                return
        except sqlite3.OperationalError:
            pass
        time.sleep(0.1)
    raise AssertionError("nothing was stored within a minute and a half")


def whole(folder: Path) -> int:
    """Records of the runs, once it is known that the file is whole and no record between two is missing."""
    assert query(folder, "PRAGMA integrity_check") == [("ok",)]
    assert query(folder, "PRAGMA foreign_key_check") == []
    found = query(folder, "SELECT count(*), max(iteration), min(iteration) FROM iterations GROUP BY run_id")
    assert all((count, 1) == (last, first) for count, last, first in found)
    return sum(count for count, _, _ in found)


def finishes(folder: Path, kept: int, spec: str = CELL, iterations: int = 4000) -> None:
    code, output = run(folder, spec=spec)
    assert code == 0, output
    assert query(folder, "SELECT count(*) FROM runs WHERE status = 'done'") == [(1,)]
    assert query(folder, "SELECT count(*) FROM runs WHERE status NOT IN ('done', 'interrupted')") == [(0,)]
    assert whole(folder) == kept + iterations


def mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


@contextmanager
def disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own, in memory."""
    if os.geteuid() != 0:
        pytest.skip("only root mounts a file system")
    place = folder / "small"
    place.mkdir()
    try:
        mount("-t", "tmpfs", "-o", f"size={size}", "none", place)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no file system can be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def one_message(output: str, message: str) -> None:
    assert "Traceback" not in output
    (line,) = [line for line in output.splitlines() if line.startswith("kfsvd-bench: ")]
    assert message in line


def test_a_full_disk(tmp_path: Path) -> None:
    with disk(tmp_path, "24m") as place:
        (place / "ballast").write_bytes(bytes(22 * 2**20))  # two MiB are left: room for the first flushes alone
        code, output = run(tmp_path, spec=LONG)
        assert code == 2, output
        one_message(output, "the disk is full: free some space; the same command then goes on")
        kept = whole(tmp_path)
        assert 0 < kept < 24000
        (place / "ballast").unlink()
        finishes(tmp_path, kept, LONG, 24000)


def test_a_disk_that_is_full_from_the_start(tmp_path: Path) -> None:
    with disk(tmp_path, "64k") as place:
        code, output = run(tmp_path)
        assert code == 2, output
        one_message(output, "the disk is full")
        mount("-o", "remount,size=16m", place)
        finishes(tmp_path, 0)


def test_a_read_only_disk(tmp_path: Path) -> None:
    with disk(tmp_path, "16m") as place:
        mount("-o", "remount,ro", place)
        code, output = run(tmp_path)
        assert code == 2, output
        one_message(output, "the file cannot be opened: see its folder and permissions")
        mount("-o", "remount,rw", place)
        finishes(tmp_path, 0)
        mount("-o", "remount,ro", place)
        (tmp_path / "again").mkdir()
        code, output = run(tmp_path)
        assert code == 2, output
        one_message(output, "read-only" if "readonly" in output else "cannot be opened")
        mount("-o", "remount,rw", place)
        assert whole(tmp_path) == 4000


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Another program writes, and does not come to an end."""
    with closing(sqlite3.connect(folder / STORE, isolation_level=None)) as other:
        other.execute("PRAGMA busy_timeout = 20000")
        other.execute("BEGIN IMMEDIATE")
        yield


def test_a_lock_beyond_sqlites_own_patience_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    process = start(tmp_path)
    wait_for_iterations(tmp_path, process)
    with locked(tmp_path):
        time.sleep(7)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert query(tmp_path, "SELECT status FROM runs") == [("done",)]
    assert whole(tmp_path) == 4000


def test_a_lock_that_stays(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    process = start(tmp_path, "import suite.store.store as store\n\nstore.PATIENCE = 1.0\n")
    wait_for_iterations(tmp_path, process)
    with locked(tmp_path):
        before = query(tmp_path, "SELECT count(*) FROM iterations")
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 2, output
    one_message(output, "another program holds it locked: wait for it, or end it")
    assert [(whole(tmp_path),)] == before
    finishes(tmp_path, before[0][0])
