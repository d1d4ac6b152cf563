"""A store that fails under a command: one clear message, nothing flushed is lost, and the same command goes on."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.reliability import Evidence, fault
from tests.suite.helpers import DEADLINE, SMALL, command, environment, wait_for, write_spec
from tests.suite.store.test_migrations import filled

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow
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
    output, _ = process.communicate(timeout=DEADLINE)
    return process.returncode, output


def query(folder: Path, text: str) -> list[Any]:
    with closing(sqlite3.connect(folder / STORE)) as connection:
        return connection.execute(text).fetchall()


def wait_for_iterations(folder: Path, process: subprocess.Popen[str]) -> None:
    def stored() -> bool:
        assert process.poll() is None, process.communicate()
        return query(folder, "SELECT count(*) FROM iterations") > [(0,)]

    wait_for(stored)


def url(folder: Path) -> str:
    return f"sqlite:///{folder / STORE}"


def whole(folder: Path) -> int:
    """Records of the runs, once it is known that the file is whole and no record between two is missing."""
    assert query(folder, "PRAGMA integrity_check") == [("ok",)]
    assert query(folder, "PRAGMA foreign_key_check") == []
    found = query(folder, "SELECT count(*), max(iteration), min(iteration) FROM iterations GROUP BY run_id")
    assert all((count, 1) == (last, first) for count, last, first in found)
    return sum(count for count, _, _ in found)


def finishes(folder: Path, kept: int, evidence: Evidence, spec: str = CELL, iterations: int = 4000) -> None:
    code, output = run(folder, spec=spec)
    assert code == 0, output
    evidence.once(url(folder), 1)
    if not evidence.lost:
        evidence.lost_nothing(url(folder), iterations)
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


@fault("the disk is full", "a file system of 24 MB that fills up in the middle of a cell")
def test_a_full_disk(tmp_path: Path, evidence: Evidence) -> None:
    with disk(tmp_path, "24m") as place:
        (place / "ballast").write_bytes(bytes(22 * 2**20))  # two MiB are left: room for the first flushes alone
        code, output = run(tmp_path, spec=LONG)
        evidence.ended(code, 2, output)
        one_message(output, "the disk is full: free some space; the same command then goes on")
        kept = whole(tmp_path)
        assert 0 < kept < 24000
        evidence.lost = "what came after the last flush that fitted"
        (place / "ballast").unlink()
        finishes(tmp_path, kept, evidence, LONG, 24000)


@fault("the disk is full from the start", "a file system of 64 kB, on which no store can be made")
def test_a_disk_that_is_full_from_the_start(tmp_path: Path, evidence: Evidence) -> None:
    with disk(tmp_path, "64k") as place:
        code, output = run(tmp_path)
        evidence.ended(code, 2, output)
        one_message(output, "the disk is full")
        mount("-o", "remount,size=16m", place)
        finishes(tmp_path, 0, evidence)
        assert evidence.code == "2"


@fault("the disk is read-only", "a file system remounted read-only, before there is a store and after")
def test_a_read_only_disk(tmp_path: Path, evidence: Evidence) -> None:
    with disk(tmp_path, "16m") as place:
        mount("-o", "remount,ro", place)
        code, output = run(tmp_path)
        evidence.ended(code, 2, output)
        one_message(output, "the file cannot be opened: see its folder and permissions")
        mount("-o", "remount,rw", place)
        finishes(tmp_path, 0, evidence)
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


@fault("the database is locked", "by another program, for seven seconds, longer than SQLite itself waits")
def test_a_lock_beyond_sqlites_own_patience_costs_nothing(tmp_path: Path, evidence: Evidence) -> None:
    (tmp_path / "small").mkdir()
    process = start(tmp_path)
    wait_for_iterations(tmp_path, process)
    with locked(tmp_path):
        time.sleep(7)
    output, _ = process.communicate(timeout=DEADLINE)
    evidence.ended(process.returncode, 0, output)
    assert query(tmp_path, "SELECT status FROM runs") == [("done",)]
    finishes(tmp_path, 0, evidence)


@fault("the database stays locked", "by another program, for longer than a command waits (a second instead of sixty)")
def test_a_lock_that_stays(tmp_path: Path, evidence: Evidence) -> None:
    (tmp_path / "small").mkdir()
    process = start(tmp_path, "import suite.store.store as store\n\nstore.PATIENCE = 1.0\n")
    wait_for_iterations(tmp_path, process)
    with locked(tmp_path):
        before = query(tmp_path, "SELECT count(*) FROM iterations")
        output, _ = process.communicate(timeout=DEADLINE)
    evidence.ended(process.returncode, 2, output)
    evidence.lost = "what came while it was locked"
    one_message(output, "another program holds it locked: wait for it, or end it")
    assert [(whole(tmp_path),)] == before
    finishes(tmp_path, before[0][0], evidence)


def test_ctrl_c_twice_waits_for_no_lock(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    process = start(tmp_path, "import suite.store.store as store\n\nstore.PATIENCE = 600.0\n")
    wait_for_iterations(tmp_path, process)
    with locked(tmp_path):
        time.sleep(3)
        process.send_signal(signal.SIGINT)
        time.sleep(7)  # SQLite itself waits five, in which two would count as one
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=DEADLINE)
    assert process.returncode == 2, output
    one_message(output, "another program holds it locked: wait for it, or end it")


@fault("a store of a newer version", "a schema of number 9999")
def test_a_newer_store_is_refused_and_stays_as_it_is(tmp_path: Path, evidence: Evidence) -> None:
    (tmp_path / "small").mkdir()
    with closing(sqlite3.connect(tmp_path / STORE)) as newer:
        newer.execute("PRAGMA journal_mode = WAL")  # as in every version's stores
        newer.executescript(
            "CREATE TABLE alembic_version (version_num TEXT); INSERT INTO alembic_version VALUES (9999)"
        )
    before = (tmp_path / STORE).read_bytes()
    for _ in range(2):
        code, output = run(tmp_path)
        evidence.ended(code, 2, output)
        one_message(output, "was written by a newer kfsvd-bench (schema 9999")
    evidence.refused(tmp_path / STORE, before)
    assert evidence.code == "2"


@fault("a store of an older version", "schema 0001 with a result; the command brings it up to date, a copy beside it")
def test_an_older_store_is_migrated_with_a_copy_beside_it(tmp_path: Path, evidence: Evidence) -> None:
    (tmp_path / "small").mkdir()
    filled(url(tmp_path))
    code, output = run(tmp_path)
    evidence.ended(code, 0, output)
    assert "is brought from schema 0001 to" in output
    copy = tmp_path / "small" / "store.schema-0001.sqlite"
    with closing(sqlite3.connect(copy)) as older:
        assert older.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert older.execute("SELECT version_num FROM alembic_version").fetchall() == [("0001",)]
        kept = older.execute("SELECT id, cell_key, status FROM runs ORDER BY id").fetchall()
    assert query(tmp_path, "SELECT id, cell_key, status FROM runs ORDER BY id")[: len(kept)] == kept
    evidence.lost = "none"
    code, output = run(tmp_path)
    assert code == 0, output
    assert "1 of 1 cells are measured already" in output
    evidence.once(url(tmp_path), 1 + len(kept))
