"""A cell is run by one command at a time; what a dead one leaves is taken over, and nothing is ended twice."""

from __future__ import annotations

import datetime as dt
import multiprocessing
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from suite.records import Records
from suite.store import open_store
from suite.store.leases import DEAD_SECONDS, GONE_SECONDS, Claim, Heartbeat, Owner, Pulses, is_dead
from suite.store.tables import RunRow
from tests.suite.helpers import DEADLINE
from tests.suite.stores import begin, claim, finished, iterations, matrix_of, rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.queues import Queue
    from pathlib import Path

    from suite.store import Store

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


@contextmanager
def of_another(url: str, host: str = "elsewhere") -> Iterator[Store]:
    """The same store, as a command on another host has it."""
    with open_store(url) as store:
        store._owner = Owner(host, 4711)
        store._of_others = sa.or_(RunRow.owner_host != host, RunRow.owner_pid != 4711)
        yield store


def test_a_cell_that_another_command_runs_is_not_taken(store: Store, url: str, tmp_path: Path) -> None:
    first, second, *_ = matrix_of(tmp_path).cells
    run = begin(store, first)
    with of_another(url) as other:
        assert claim(other, first) == Claim(None, "running")
        assert claim(other, second).run is not None
        assert claim(store, second) == Claim(None, "running")
        store.finish(run, "done")
        assert claim(other, first) == Claim(None, "done")
    assert rows(url, "SELECT count(*) FROM runs") == [(2,)]


@pytest.mark.parametrize(("status", "taken"), [("interrupted", True), ("error", False), ("oom", False)])
def test_what_another_failed_at_meanwhile_is_not_tried_again_and_what_it_left_is(
    store: Store, url: str, tmp_path: Path, status: str, *, taken: bool
) -> None:
    cell = matrix_of(tmp_path).cells[0]
    finished(store, cell, Records([], [], []), "error")
    with of_another(url) as other:
        since = other.newest()
        run = claim(store, cell, since=since).run
        assert run is not None, "a failure before the command began is tried again"
        store.finish(run, status)
        found = claim(other, cell, since=since)
        assert (found.run is not None) is taken
        assert found.status == ("running" if taken else status)


def test_a_command_may_try_its_own_failure_again(store: Store, tmp_path: Path) -> None:
    cell = matrix_of(tmp_path).cells[0]
    finished(store, cell, Records([], [], []), "oom")
    assert claim(store, cell).run is not None


def test_other_sources_are_another_cell(store: Store, url: str, tmp_path: Path) -> None:
    cell = matrix_of(tmp_path).cells[0]
    begin(store, cell, "sources")
    with of_another(url) as other:
        assert claim(other, cell, "others").run is not None


def test_the_database_itself_refuses_a_second_run_at_work(store: Store, url: str, tmp_path: Path) -> None:
    cell = matrix_of(tmp_path).cells[0]
    with of_another(url) as other:
        begin(store, cell)
        other._standing = lambda *_: None  # type: ignore[assignment,method-assign]  as just before that
        assert claim(other, cell) == Claim(None, "running")
    assert rows(url, "SELECT count(*) FROM runs") == [(1,)]


def test_a_cell_that_was_taken_and_ended_between_look_and_lease_is_not_taken(
    store: Store, url: str, tmp_path: Path
) -> None:
    cell = matrix_of(tmp_path).cells[0]
    with of_another(url) as other:
        looked = other._standing
        looks = iter([None])

        def late(*arguments: object, **named: object) -> str | None:
            return next(looks) if "besides" not in named else looked(*arguments, **named)  # type: ignore[arg-type]

        other._standing = late  # type: ignore[method-assign]
        finished(store, cell, Records([], [], []))
        assert claim(other, cell) == Claim(None, "done")
    assert rows(url, "SELECT status FROM runs") == [("done",)]


def test_a_lost_lease_is_told_and_the_run_stays_as_it_was_taken(store: Store, url: str, tmp_path: Path) -> None:
    cell, kept = matrix_of(tmp_path).cells[:2]
    lost, mine = begin(store, cell), begin(store, kept)
    store.append(lost, Records(iterations(3), [], []))
    assert store.flush() == []
    long_ago = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=DEAD_SECONDS + 60)
    store._update(lost, heartbeat_at=long_ago)
    with of_another(url) as other:
        assert other.sweep() == 1
        assert claim(other, cell).run is not None
        assert store.flush() == [lost]
        assert not store.finish(lost, "done")
        assert store.flush() == []
        assert store.finish(mine, "done")
    found = rows(url, "SELECT status, count(*) FROM runs GROUP BY status ORDER BY status")
    assert found == [("done", 1), ("interrupted", 1), ("running", 1)]
    assert rows(url, f"SELECT count(*) FROM iterations WHERE run_id = {lost}") == [(3,)]


def test_a_heartbeat_that_came_after_the_look_saves_the_lease(store: Store, url: str, tmp_path: Path) -> None:
    run = begin(store, matrix_of(tmp_path).cells[0])
    with of_another(url) as other:
        other._pulses.silence = lambda *_: DEAD_SECONDS + 1  # type: ignore[method-assign]
        change = other._change

        def after_a_beat(*which: sa.ColumnElement[bool], **values: object) -> int:
            store.flush()
            return change(*which, **values)

        other._change = after_a_beat  # type: ignore[method-assign]
        assert other.sweep() == 0
    assert rows(url, f"SELECT status FROM runs WHERE id = {run}") == [("running",)]


def test_a_run_beside_which_another_command_runs_is_recorded_as_contended(
    store: Store, url: str, tmp_path: Path
) -> None:
    first, second, third, *_ = matrix_of(tmp_path).cells
    mine = begin(store, first)
    with of_another(url) as distant:
        begin(distant, second)
        store.flush()
        assert rows(url, f"SELECT count(*) FROM runs WHERE id = {mine} AND contended") == [(0,)]
    with of_another(url, store._owner.host) as here:
        begin(here, third)
        store.flush()
        assert rows(url, f"SELECT count(*) FROM runs WHERE id = {mine} AND contended") == [(1,)]


def _claim_all(url: str, folder: Path, results: Queue[list[str]]) -> None:
    from pathlib import Path

    with open_store(url) as store:
        cells = matrix_of(Path(folder)).cells
        taken = [(cell, claim(store, cell).run) for cell in cells * 3]
        for _, run in taken:
            if run is not None:
                store.finish(run, "done")
        results.put([cell.key for cell, run in taken if run is not None])


def test_processes_that_grab_at_once_get_every_cell_once(url: str, tmp_path: Path) -> None:
    cells = matrix_of(tmp_path).cells
    context = multiprocessing.get_context("spawn")
    results: Queue[list[str]] = context.Queue()
    grabbers = [context.Process(target=_claim_all, args=(url, tmp_path, results)) for _ in range(3)]
    for grabber in grabbers:
        grabber.start()
    for grabber in grabbers:  # a few keys fit into the pipe, so that they end before these are read
        grabber.join(DEADLINE)
        assert grabber.exitcode == 0
    taken = [key for _ in grabbers for key in results.get(timeout=DEADLINE)]
    assert sorted(taken) == sorted(cell.key for cell in cells)
    assert rows(url, "SELECT count(*), count(DISTINCT cell_key) FROM runs WHERE status = 'done'") == [(8, 8)]
    assert rows(url, "SELECT count(*) FROM experiments") == rows(url, "SELECT count(*) FROM environments") == [(1,)]


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("suite.store.leases.time.monotonic", made)
    return made


def test_silence_is_how_long_a_heartbeat_has_not_changed(clock: Clock) -> None:
    pulses = Pulses()
    later = NOW + dt.timedelta(seconds=1)
    assert pulses.silence(1, Heartbeat(NOW, NOW)) == 0
    clock.now += 40
    assert pulses.silence(1, Heartbeat(NOW, NOW)) == 40
    assert pulses.silence(1, Heartbeat(later, NOW)) == 0
    clock.now += 70
    assert pulses.silence(1, Heartbeat(later, NOW)) == 70
    assert pulses.silence(2, Heartbeat(later, NOW)) == 0, "each run has its own"


def test_a_heartbeat_that_was_old_when_first_seen_counts_from_then(clock: Clock) -> None:
    pulses = Pulses()
    assert pulses.silence(1, Heartbeat(NOW - dt.timedelta(days=1), NOW)) == 86400
    clock.now += 1
    assert pulses.silence(1, Heartbeat(NOW - dt.timedelta(days=1), NOW)) == 86401


@pytest.mark.parametrize("hours", [-5, 5])
def test_a_clock_that_is_set_ends_no_lease(clock: Clock, hours: int) -> None:
    pulses = Pulses()
    pulses.silence(1, Heartbeat(NOW, NOW))
    clock.now += 1
    assert pulses.silence(1, Heartbeat(NOW, NOW + dt.timedelta(hours=hours))) == 1
    clock.now += 1
    beat = NOW + dt.timedelta(hours=hours)
    assert pulses.silence(1, Heartbeat(beat, beat)) == 0
    assert Pulses().silence(1, Heartbeat(NOW + dt.timedelta(hours=1), NOW)) == 0, "one from the future was just now"


def test_who_is_dead() -> None:
    me, gone = Owner("here", os.getpid()), 2**22 + 1
    parent = Owner("here", os.getppid())
    assert not is_dead(parent, me, DEAD_SECONDS)
    assert is_dead(parent, me, DEAD_SECONDS + 1)
    assert is_dead(Owner("here", gone), me, GONE_SECONDS + 1)
    assert not is_dead(Owner("here", gone), me, GONE_SECONDS), "it may be in another container of this name"
    assert not is_dead(Owner("elsewhere", gone), me, GONE_SECONDS + 1), "another host's numbers say nothing here"
    assert is_dead(me, me, GONE_SECONDS + 1), "this process's number, but none of its runs: left by an earlier one"
    assert not is_dead(me, me, GONE_SECONDS), "or another container's, where every command has the number 1"


def test_a_run_at_work_in_another_container_of_this_name_is_not_taken(store: Store, url: str, tmp_path: Path) -> None:
    cell = matrix_of(tmp_path).cells[0]
    run = begin(store, cell)
    with open_store(url) as other:
        other._owner = Owner(store._owner.host, 2**22 + 1)
        other._running[run] = store._running.pop(run)
        store._update(run, owner_pid=2**22 + 1)
        for _ in range(3):
            other.flush()
            assert store.sweep() == 0
            assert claim(store, cell) == Claim(None, "running")
        assert other.finish(run, "done")


def test_texts_that_a_database_cannot_take_are_made_to_fit(store: Store, url: str, tmp_path: Path) -> None:
    run = begin(store, matrix_of(tmp_path).cells[0])
    store.finish(run, "error", error="a\0b \udcff ✓")
    assert rows(url, "SELECT error FROM runs") == [("a\N{REPLACEMENT CHARACTER}b ? ✓",)]


@pytest.mark.slow
def test_a_server_that_ends_a_connection_loses_nothing(postgres_url: str, tmp_path: Path) -> None:
    with open_store(postgres_url) as store:
        run = begin(store, matrix_of(tmp_path).cells[0])
        store.append(run, Records(iterations(3), [], []))
        pid = store.session.connection().exec_driver_sql("SELECT pg_backend_pid()").scalar()
        store.session.commit()
        assert rows(postgres_url, f"SELECT pg_terminate_backend({pid})") == [(True,)]
        store.flush()
        assert store.finish(run, "done")
    assert rows(postgres_url, "SELECT count(*) FROM iterations") == [(3,)]
