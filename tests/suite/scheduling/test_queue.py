"""The queue that every executor takes its cells from: no process, and a clock that the test sets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from suite.problems import Folders
from suite.records import Records
from suite.scheduling.messages import Measured, Noted
from suite.scheduling.queue import Attempt, SharedQueue
from suite.scheduling.site import FLUSH_SECONDS, GRACE_SECONDS, Provenance, Site
from suite.scheduling.slots import Slot
from suite.spec.budget import Scheduling
from suite.store import RunRow, open_store
from suite.store.leases import RESERVED, Owner
from tests.suite.helpers import SMALL
from tests.suite.scheduling.test_watch import Clock
from tests.suite.stores import MACHINE, claim, iterations, matrix_of, rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from suite.cell import Cell
    from suite.store import Store

SLOT = Slot("cpu:0", "cpu", (), 1)


class Told:
    """A view that remembers what it was told."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *values: self.calls.append((name, *values))

    def of(self, name: str) -> list[tuple[Any, ...]]:
        return [values for called, *values in self.calls if called == name]  # type: ignore[misc]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store.sqlite"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with open_store(url) as found:
        yield found


@pytest.fixture
def other(url: str, store: Store) -> Iterator[Store]:
    """The same store, as a command on another host has it open."""
    with open_store(url) as found:
        found._owner = Owner("elsewhere", 1)
        yield found


@pytest.fixture
def cells(working_folder: Path) -> list[Cell]:
    return list(matrix_of(working_folder).cells)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def queue_of(store: Store, cells: list[Cell], clock: Clock, view: Told | None = None, **rules: Any) -> SharedQueue:
    provenance = Provenance(store.experiment("small", SMALL), store.environment(MACHINE), "sources", store.newest())
    site = Site([SLOT], store, provenance, Folders.default(None), Scheduling(**rules), Path("logs"))
    return SharedQueue(cells, site, view or Told(), crowded=True, clock=clock)


def taken(queue: SharedQueue) -> Attempt:
    """The next cell, at work."""
    attempt = queue.take(SLOT.name)
    assert attempt is not None
    queue.start(attempt, SLOT)
    return attempt


def stolen(attempt: Attempt, store: Store, other: Store) -> int:
    """Another command takes over the cell of an attempt; its run."""
    store._change(RunRow.id == attempt.run, status="interrupted")
    store.session.commit()
    run = claim(other, attempt.cell).run
    assert run is not None
    return run


def test_cells_come_in_order_and_their_ends_are_stored_counted_and_told(
    store: Store, cells: list[Cell], clock: Clock, url: str
) -> None:
    view = Told()
    queue = queue_of(store, cells[:2], clock, view)
    first, second = taken(queue), taken(queue)
    assert [first.cell, second.cell] == cells[:2]
    assert queue.take(SLOT.name) is None
    assert not queue
    queue.finish(first, "done", peak_memory=5)
    queue.finish(second, "error", "it broke")
    assert queue.summary.statuses == {"done": 1, "error": 1}
    assert view.of("started") == [[cells[0], SLOT], [cells[1], SLOT]]
    assert view.of("finished") == [[cells[0], SLOT, "done", None], [cells[1], SLOT, "error", "it broke"]]
    found = rows(url, "SELECT status, error, peak_memory_bytes, contended FROM runs ORDER BY id")
    assert found == [("done", None, 5, 1), ("error", "it broke", None, 1)]


def test_what_a_cell_says_is_stored_shown_and_no_silence(
    store: Store, cells: list[Cell], clock: Clock, url: str
) -> None:
    view = Told()
    queue = queue_of(store, cells[:1], clock, view)
    attempt, rules = taken(queue), Scheduling(silent_seconds=5)
    clock.now += 4
    queue.heed(attempt, Noted(0, "beware"))
    clock.now += 4
    assert attempt.overdue(rules) is None
    records = Records(iterations(3), [], [])
    queue.heed(attempt, Measured(0, records))
    clock.now += 6
    assert "silent_seconds" in (attempt.overdue(rules) or "")
    queue.finish(attempt, "timeout", attempt.overdue(rules))
    assert view.of("noted") == [[cells[0], "beware"]]
    assert view.of("measured") == [[cells[0], SLOT, records]]
    assert rows(url, "SELECT run_id, count(*) FROM iterations GROUP BY run_id") == [(attempt.run, 3)]


def test_a_cell_that_ran_out_of_memory_runs_once_more_after_all_others_and_alone(
    store: Store, cells: list[Cell], clock: Clock, url: str
) -> None:
    queue = queue_of(store, cells[:3], clock, retry_oom=True)
    first, second = taken(queue), taken(queue)
    queue.finish(first, "oom", "no room")
    third = taken(queue)
    assert third.cell == cells[2], "the others come before"
    queue.finish(second, "done")
    assert queue.take(SLOT.name) is None, "the third is at work"
    queue.finish(third, "done")
    again = taken(queue)
    assert (again.cell, again.alone, again.contended) == (cells[0], True, False)
    queue.finish(again, "oom", "no room")
    assert queue.take(SLOT.name) is None
    assert not queue
    assert queue.summary.statuses == {"done": 2, "oom": 1}
    assert rows(url, f"SELECT contended FROM runs WHERE cell_key = '{cells[0].key}' ORDER BY id") == [(1,), (0,)]


def test_without_the_rule_a_cell_that_ran_out_of_memory_is_given_up(
    store: Store, cells: list[Cell], clock: Clock
) -> None:
    queue = queue_of(store, cells[:1], clock)
    queue.finish(taken(queue), "oom", "no room")
    assert not queue
    assert queue.summary.statuses == {"oom": 1}


def test_nothing_runs_beside_a_cell_that_is_to_be_alone(
    store: Store, other: Store, cells: list[Cell], clock: Clock
) -> None:
    theirs = claim(other, cells[1]).run
    assert theirs is not None
    queue = queue_of(store, cells[:2], clock, retry_oom=True)
    queue.finish(taken(queue), "oom", "no room")
    alone = taken(queue)
    assert alone.alone
    other.finish(theirs, "interrupted")
    clock.now += 2
    assert queue.look()
    assert queue.take(SLOT.name) is None, "the one that is free now waits"
    queue.finish(alone, "done")
    assert taken(queue).cell == cells[1]


def test_a_lost_cell_comes_next_again_until_its_retries_are_used_up(
    store: Store, cells: list[Cell], clock: Clock
) -> None:
    view = Told()
    queue = queue_of(store, cells[:2], clock, view)
    said = []
    for _ in range(3):
        attempt = taken(queue)
        assert attempt.cell == cells[0]
        again, what = queue.lost(attempt.cell, 2)
        said.append(what)
        queue.finish(attempt, "error", f"lost, {what}", again=again)
    assert said == ["run again, 1 of 2 times", "run again, 2 of 2 times", "given up after 3 attempts"]
    assert taken(queue).cell == cells[1]
    assert queue.lost(cells[1], 2) == (True, "run again, 1 of 2 times"), "each cell has retries of its own"
    assert queue.summary.statuses == {"error": 1}, "what is run again is counted once"
    assert len(view.of("finished")) == 3


def test_a_lost_cell_that_is_to_be_alone_stays_alone(store: Store, cells: list[Cell], clock: Clock) -> None:
    queue = queue_of(store, cells[:1], clock, retry_oom=True)
    queue.finish(taken(queue), "oom", "no room")
    queue.finish(taken(queue), "error", "lost", again=True)
    assert taken(queue).alone


def test_a_cell_that_goes_down_before_it_is_claimed_leaves_no_run(
    store: Store, cells: list[Cell], clock: Clock
) -> None:
    view = Told()
    queue = queue_of(store, cells[:1], clock, view)
    for again in (True, False):
        attempt = queue.next()
        assert attempt is not None
        queue.finish(attempt, "interrupted", again=again)
    assert not queue
    assert (store.newest(), queue.summary.statuses, view.calls) == (0, {}, [])


@pytest.mark.parametrize("again", [False, True])
def test_a_cell_that_is_taken_over_is_waited_for(
    again: bool, store: Store, other: Store, cells: list[Cell], clock: Clock
) -> None:
    view = Told()
    queue = queue_of(store, cells[:1], clock, view)
    attempt = taken(queue)
    theirs = stolen(attempt, store, other)
    assert queue.flush() == [], "it is not due"
    clock.now += FLUSH_SECONDS
    assert queue.flush() == [attempt]
    queue.finish(attempt, "done", again=again)
    ((_, _, status, error),) = view.of("finished")
    assert status == "interrupted"
    assert "taken over by another command" in error
    assert queue.summary.statuses == {"interrupted": 1}
    assert queue, "it may have to be run here"
    assert queue.take(SLOT.name) is None
    assert view.of("elsewhere") == [[1, 0]]
    assert not queue.look(), "it was looked at a moment ago"
    other.finish(theirs, "done")
    clock.now += 2
    assert queue.look()
    assert queue.take(SLOT.name) is None
    assert not queue
    assert queue.summary.elsewhere == {"done": 1}
    assert view.of("elsewhere")[-1] == [0, 1]


def test_a_cell_that_another_command_gives_up_is_run_here(
    store: Store, other: Store, cells: list[Cell], clock: Clock
) -> None:
    theirs = claim(other, cells[0]).run
    assert theirs is not None
    queue = queue_of(store, cells[:1], clock)
    assert queue.take(SLOT.name) is None
    other.finish(theirs, "interrupted")
    clock.now += 2
    assert queue.look()
    assert taken(queue).cell == cells[0]


def test_a_cell_that_is_held_for_a_job_leaves_no_run_and_comes_next_once_more(
    store: Store, cells: list[Cell], clock: Clock
) -> None:
    view = Told()
    queue = queue_of(store, cells[:2], clock, view)
    attempt = queue.take(RESERVED)
    assert attempt is not None
    queue.start(attempt, SLOT)
    queue.release(attempt)
    queue.end(attempt, "interrupted", None, again=True)
    assert store.newest() == 0
    assert taken(queue).cell == cells[0]
    assert queue.summary.statuses == {}
    assert view.of("finished") == [[cells[0], SLOT, "interrupted", None]]


def test_after_a_signal_no_cell_is_given_out(store: Store, cells: list[Cell], clock: Clock) -> None:
    queue = queue_of(store, cells[:3], clock)
    attempt = taken(queue)
    queue.interrupt()
    assert not queue
    assert queue.take(SLOT.name) is None
    assert not queue.time_is_up
    assert not store.hurried
    queue.interrupt()
    assert queue.time_is_up
    assert store.hurried, "the second time the store is not waited for"
    store.hurried = False
    queue.finish(attempt, "interrupted")
    assert queue.summary.interrupted
    assert queue.summary.statuses == {"interrupted": 1}


def test_what_is_at_work_after_a_signal_has_a_while_to_end(store: Store, cells: list[Cell], clock: Clock) -> None:
    queue = queue_of(store, cells[:1], clock)
    clock.now += 2 * GRACE_SECONDS
    assert not queue.time_is_up
    queue.interrupt()
    clock.now += GRACE_SECONDS
    assert not queue.time_is_up
    clock.now += 0.5
    assert queue.time_is_up
