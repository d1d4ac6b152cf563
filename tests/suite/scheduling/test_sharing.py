"""Two commands on one store share its matrix: in processes of their own, and killed for real."""

from __future__ import annotations

import datetime as dt
import random
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from suite.training.loop import RECORD_SECONDS
from tests.reliability import Evidence, fault
from tests.suite.helpers import DEADLINE, SMALL, bench, command, environment, wait_for, write_spec
from tests.suite.postgres import PASSWORD
from tests.suite.stores import rows
from tests.suite.tuned import TUNED

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]
# A second of training a cell, so that commands meet; every one of eight ends by itself.
SLOW = SMALL.replace("iterations: 60", "iterations: 100000, seconds: 1").replace("fisher_every: 30, ", "")

LONG = SLOW.replace("seconds: 1", "seconds: 600")


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store's, of the database that a test names."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.sqlite"
    found: str = request.getfixturevalue("postgres_url")
    return found


BOTH = pytest.mark.parametrize("url", ["sqlite", "postgres"], indirect=True)
SQLITE = pytest.mark.parametrize("url", ["sqlite"], indirect=True)
POSTGRES = pytest.mark.parametrize("url", ["postgres"], indirect=True)


MEETING = """
import os, time
from suite.store.store import Store

claim = Store.claim

def met(self, *cell, **more):
    open(f"here-{os.getpid()}", "w").close()
    while sum(name.startswith("here-") for name in os.listdir()) < 2:
        time.sleep(0.05)
    return claim(self, *cell, **more)

Store.claim = met
"""
"""Two commands wait for each other before each takes its first cell."""


def start(folder: Path, url: str, devices: str = "sim:1", *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command("run", "small.yaml", "--devices", devices, "--db", url, *more),
        cwd=folder,
        env=environment(folder) | {"PYTHONPATH": f"{folder}:{ROOT}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@contextmanager
def started(folder: Path, url: str) -> Iterator[subprocess.Popen[str]]:
    """A command that trains one cell, and does not outlive a test that fails."""
    process = start(folder, url, "sim:1", "--select", "optimizer=sgd,seed=0")
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def until(process: subprocess.Popen[str], word: str) -> str:
    """The first line that it says with a word in it."""
    assert process.stdout is not None
    for line in process.stdout:
        if word in line:
            return line
    raise AssertionError(f"it ended without saying {word!r}")


def interrupted(process: subprocess.Popen[str]) -> str:
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=DEADLINE)
    assert process.returncode == 130, output
    return output


def age(stamp: object) -> float:
    """Seconds since a moment that a store holds."""
    moment = dt.datetime.fromisoformat(stamp) if isinstance(stamp, str) else stamp
    assert isinstance(moment, dt.datetime)
    return (dt.datetime.now(dt.UTC) - moment.replace(tzinfo=moment.tzinfo or dt.UTC)).total_seconds()


def owners(url: str) -> dict[object, int]:
    found = rows(url, "SELECT owner_pid, count(*) FROM runs WHERE status = 'done' GROUP BY owner_pid")
    return {pid: int(str(count)) for pid, count in found}


def each_once(url: str, cells: int) -> None:
    done = "SELECT count(*), count(DISTINCT cell_key) FROM runs WHERE status = 'done'"
    assert rows(url, done) == [(cells, cells)]
    twice = "SELECT count(*) FROM runs WHERE status NOT IN ('done', 'interrupted')"
    assert rows(url, twice) == [(0,)]


@BOTH
def test_two_commands_do_every_cell_once(tmp_path: Path, url: str) -> None:
    write_spec(tmp_path, SLOW)
    (tmp_path / "sitecustomize.py").write_text(MEETING)
    both = [start(tmp_path, url) for _ in range(2)]
    outputs = [process.communicate(timeout=DEADLINE)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    each_once(url, 8)
    assert rows(url, "SELECT count(*) FROM runs") == [(8,)]
    shares = owners(url)
    assert set(shares) == {process.pid for process in both}, "both had a share"
    for process, output in zip(both, outputs, strict=True):
        assert f"{8 - shares[process.pid]} cells were run by other commands meanwhile" in output
    assert rows(url, "SELECT count(*) FROM runs WHERE contended") >= [(2,)], "each ran beside the other's"


@fault("one of two commands is killed", "SIGKILL to one of two that share a store, on SQLite and on PostgreSQL")
@BOTH
def test_what_a_killed_command_leaves_is_taken_over(tmp_path: Path, url: str, evidence: Evidence) -> None:
    write_spec(tmp_path, SLOW)
    victim, survivor = start(tmp_path, url), start(tmp_path, url)
    mine = f"SELECT count(*) FROM runs WHERE owner_pid = {victim.pid} AND status = 'running'"
    wait_for(lambda: rows(url, mine) == [(1,)])
    some = random.randrange(1000)
    stored = f"SELECT count(*) FROM iterations JOIN runs ON runs.id = run_id WHERE owner_pid = {victim.pid}"
    wait_for(lambda: victim.poll() is not None or rows(url, stored) >= [(some,)])
    victim.kill()
    at = f"SELECT heartbeat_at FROM runs WHERE owner_pid = {victim.pid} AND status = 'running'"
    evidence.lost_at_most(sum(age(flushed) + RECORD_SECONDS for (flushed,) in rows(url, at)))
    victim.communicate(timeout=DEADLINE)
    kept = rows(url, f"SELECT count(*) FROM iterations JOIN runs ON runs.id = run_id WHERE owner_pid = {victim.pid}")
    output, _ = survivor.communicate(timeout=DEADLINE)
    evidence.ended(survivor.returncode, 0, output)
    each_once(url, 8)
    evidence.once(url, 8)
    assert rows(url, "SELECT count(*) FROM runs WHERE status = 'interrupted'") <= [(1,)]
    assert set(owners(url)) <= {victim.pid, survivor.pid}
    after = rows(url, f"SELECT count(*) FROM iterations JOIN runs ON runs.id = run_id WHERE owner_pid = {victim.pid}")
    assert after == kept, "what was flushed is kept"


@SQLITE
def test_who_waits_says_so_and_is_ended_by_ctrl_c(tmp_path: Path, url: str) -> None:
    write_spec(tmp_path, LONG)
    with started(tmp_path, url) as first:
        wait_for(lambda: rows(url, "SELECT count(*) FROM runs WHERE status = 'running'") == [(1,)])
        with started(tmp_path, url) as second:
            assert "for 1 cells that other commands on this store run" in until(second, "waiting")
            output = interrupted(second)
            assert "the same command goes on from here" in output
        interrupted(first)
    assert rows(url, "SELECT owner_pid, status FROM runs") == [(first.pid, "interrupted")]


STRUCK = """
import os, signal
from suite.scheduling.queue import SharedQueue

look = SharedQueue.look

def struck(self):
    due = look(self)
    if due:
        os.kill(os.getpid(), signal.SIGINT)
    return due

SharedQueue.look = struck
"""


@SQLITE
def test_ctrl_c_is_heeded_whenever_it_comes(tmp_path: Path, url: str) -> None:
    write_spec(tmp_path, LONG)
    with started(tmp_path, url) as first:
        wait_for(lambda: rows(url, "SELECT count(*) FROM runs WHERE status = 'running'") == [(1,)])
        (tmp_path / "sitecustomize.py").write_text(STRUCK)  # between looking for a free cell and taking one
        with started(tmp_path, url) as second:
            output, _ = second.communicate(timeout=DEADLINE)
            assert second.returncode == 130, output
            assert "the same command goes on from here" in output
        interrupted(first)


@POSTGRES
def test_who_waits_takes_over_what_another_gives_up(tmp_path: Path, url: str) -> None:
    write_spec(tmp_path, LONG)
    with started(tmp_path, url) as first:
        wait_for(lambda: rows(url, "SELECT count(*) FROM iterations") > [(0,)])
        with started(tmp_path, url) as second:
            until(second, "waiting")
            interrupted(first)
            wait_for(lambda: len(rows(url, "SELECT id FROM runs")) == 2)
            interrupted(second)
    found = rows(url, "SELECT owner_pid, status FROM runs ORDER BY id")
    assert found == [(first.pid, "interrupted"), (second.pid, "interrupted")]


@fault("one of two commands is frozen", "SIGSTOP until the other has taken its cell over, then SIGCONT")
@SQLITE
def test_a_command_that_was_frozen_gives_up_what_was_taken_from_it(
    tmp_path: Path, url: str, evidence: Evidence
) -> None:
    text = SLOW.replace("seconds: 1", "seconds: 6").replace("seeds: [0, 1]", "seeds: [0]")
    write_spec(tmp_path, text)
    (tmp_path / "sitecustomize.py").write_text("import suite.store.leases as leases\n\nleases.DEAD_SECONDS = 2.0\n")
    with started(tmp_path, url) as frozen:
        wait_for(lambda: rows(url, "SELECT count(*) FROM iterations") > [(0,)])
        frozen.send_signal(signal.SIGSTOP)
        try:
            with started(tmp_path, url) as other:
                mine = f"SELECT count(*) FROM runs WHERE owner_pid = {other.pid} AND status = 'running'"
                wait_for(lambda: rows(url, mine) == [(1,)])
                frozen.send_signal(signal.SIGCONT)
                output, _ = other.communicate(timeout=DEADLINE)
                assert other.returncode == 0, output
        finally:
            frozen.send_signal(signal.SIGCONT)
        output, _ = frozen.communicate(timeout=DEADLINE)
        evidence.ended(frozen.returncode, 0, output)
        evidence.lost = "none of the result's; the cell was measured anew"
        evidence.once(url, 1)
        assert "interrupted" in output
    assert rows(url, "SELECT owner_pid, status FROM runs ORDER BY id") == [
        (frozen.pid, "interrupted"),
        (other.pid, "done"),
    ]


@SQLITE
def test_the_rounds_of_a_tuning_are_shared(tmp_path: Path, url: str) -> None:
    write_spec(tmp_path, TUNED.replace("fisher_every: 30, ", ""))
    (tmp_path / "sitecustomize.py").write_text(MEETING)
    both = [start(tmp_path, url) for _ in range(2)]
    outputs = [process.communicate(timeout=DEADLINE)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    each_once(url, 2 * 4 * 2 + 2 * 2)
    assert rows(url, "SELECT count(*) FROM runs") == [(20,)]
    for output in outputs:
        assert "Measuring" in output or "meanwhile" in output


def test_a_store_on_a_server_serves_every_verb_and_shows_no_password(tmp_path: Path, postgres_url: str) -> None:
    write_spec(tmp_path)
    select = ["--select", "optimizer=sgd|kfac"]
    planned = bench(tmp_path, "plan", "small.yaml", "--db", postgres_url)
    run = bench(tmp_path, "run", "small.yaml", "--devices", "sim:1", "--db", postgres_url, *select)
    assert run.returncode == 0, run.stderr
    again = bench(tmp_path, "plan", "small.yaml", "--db", postgres_url)
    assert "8 cells, 4 measured in postgresql+psycopg://kfsvd:***@" in again.stdout
    status = bench(tmp_path, "status", "small.yaml", "--db", postgres_url)
    formats = [part for name in ("md", "html", "csv", "json") for part in ("--format", name)]
    report = bench(tmp_path, "report", "small.yaml", "--db", postgres_url, *formats)
    for done in (planned, run, again, status, report):
        assert done.returncode in (0, 4), done.stderr
        assert PASSWORD not in done.stdout + done.stderr
    written = [path for path in (tmp_path / "results").rglob("*") if path.is_file()]
    assert {"README.md", "report.html", "cells.csv", "report.json"} <= {path.name for path in written}
    assert not [path.name for path in written if PASSWORD.encode() in path.read_bytes()]
    page = (tmp_path / "results" / "small" / "README.md").read_text()
    assert "4 of 8 cells measured" in page
    assert "kfsvd:***@" in page
    refused = bench(tmp_path, "run", "small.yaml", "--db", postgres_url.replace("host=", "host=/nowhere"))
    assert refused.returncode == 2
    assert refused.stderr.startswith("kfsvd-bench: store postgresql+psycopg://kfsvd:***@")
    assert "Traceback" not in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
