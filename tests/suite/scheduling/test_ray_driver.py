"""What the Ray executor makes of records that do not come and of cells that others take, with a stand-in for Ray."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

import suite.scheduling.ray as executor
from suite.environment import current_environment
from suite.problems import Folders
from suite.scheduling.messages import Finished
from suite.scheduling.remote import Order, Placed
from suite.scheduling.site import Provenance, Site
from suite.spec.budget import Scheduling
from suite.store import RunRow, open_store
from suite.store.leases import Owner
from tests.suite.helpers import SMALL
from tests.suite.stores import claim, matrix_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from suite.cell import Cell
    from suite.store import Store


class RayError(Exception):
    """As Ray's."""


class GetTimeoutError(RayError):
    """As Ray's."""


ABSENT = object()
"""A record that is ready, and does not come."""


class Stream:
    """What a task sends."""

    def __init__(self, messages: list[Any]) -> None:
        self._messages = iter(messages)

    def __next__(self) -> Any:
        return next(self._messages)


class Cluster:
    """As much of Ray as the executor calls; every task sends what the test says."""

    def __init__(self, *scripts: list[Any]) -> None:
        self.scripts = deque(scripts)
        self.orders: list[tuple[Order, dict[str, Any], int]] = []  # with the options, and how many were at work
        self.streams: list[Stream] = []
        self.ended: set[Stream] = set()
        self.asked: list[float] = []  # the patience of every fetch that failed
        kinds = ("TaskCancelledError", "OutOfMemoryError", "RayTaskError")
        errors = {kind: type(kind, (RayError,), {}) for kind in kinds}
        self.exceptions = SimpleNamespace(RayError=RayError, GetTimeoutError=GetTimeoutError, **errors)

    def cluster_resources(self) -> dict[str, float]:
        return {"GPU": 1.0, "CPU": 4.0}

    def remote(self, _: object) -> Any:
        def options(**options: Any) -> Any:
            def remote(order: Order) -> Stream:
                self.orders.append((order, options, len(self.streams) - len(self.ended)))
                self.streams.append(Stream(self.scripts.popleft()))
                return self.streams[-1]

            return SimpleNamespace(remote=remote)

        return SimpleNamespace(options=options)

    def wait(self, streams: list[Stream], **_: object) -> tuple[list[Stream], list[Stream]]:
        return streams, []

    def get(self, message: Any, timeout: float) -> Any:
        if message is ABSENT:
            self.asked.append(timeout)
            raise GetTimeoutError
        if isinstance(message, Finished):
            self.ended.add(self.streams[len(self.ended)])
        return message

    def cancel(self, stream: Stream, force: bool = False) -> None:
        self.ended.add(stream)


class Silent:
    """A view that shows nothing."""

    def __getattr__(self, _: str) -> Any:
        return lambda *_: None


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(f"sqlite:///{tmp_path}/store.sqlite") as found:
        yield found


PLACED = Placed(current_environment(), "cpu")
DONE = Finished(0, "done", None, None)
OOM = Finished(0, "oom", "no room", None)


def drive(store: Store, folder: Path, cells: list[Cell], cluster: Cluster, **rules: Any) -> Any:
    provenance = Provenance(
        store.experiment("small", SMALL), store.environment(current_environment()), "sources", store.newest()
    )
    site = Site([], store, provenance, Folders.default(None), Scheduling(**rules), folder)
    return executor._Driver(cluster, cells, site, Silent())


def statuses(store: Store, cells: list[Cell]) -> list[str]:
    latest = store.latest([cell.key for cell in cells])
    return [latest[cell.key].status for cell in cells]


@pytest.fixture
def cells(working_folder: Path) -> list[Cell]:
    return list(matrix_of(working_folder).cells)


def test_the_store_is_flushed_while_a_record_does_not_come(
    store: Store, cells: list[Cell], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("suite.scheduling.queue.FLUSH_SECONDS", 0.0)
    monkeypatch.setattr(executor, "_LOST_SECONDS", 1.0)
    cluster = Cluster([PLACED, ABSENT], [PLACED, DONE], [PLACED, DONE])
    driver = drive(store, tmp_path, cells[:2], cluster)
    flushes: list[int] = []
    flush = store.flush

    def counted() -> list[int]:
        flushes.append(len(cluster.asked))
        return flush()

    monkeypatch.setattr(store, "flush", counted)
    summary = driver.run()
    assert summary.statuses == {"done": 2}
    assert len(cluster.asked) > 2, "it is asked for again"
    assert max(cluster.asked) <= 2.0
    assert set(range(1, len(cluster.asked))) <= set(flushes), "between any two fetches the leases are renewed"
    assert "GetTimeoutError" in str(store.session.connection().exec_driver_sql("SELECT error FROM runs").all())


def test_a_record_that_comes_late_costs_no_run(store: Store, cells: list[Cell], tmp_path: Path) -> None:
    cluster = Cluster([PLACED, DONE])
    get, late = cluster.get, [True, True]

    def slow(message: Any, timeout: float) -> Any:
        return get(ABSENT if message is DONE and late and late.pop() else message, timeout)

    cluster.get = slow  # type: ignore[method-assign]
    assert drive(store, tmp_path, cells[:1], cluster).run().statuses == {"done": 1}
    assert len(cluster.asked) == 2
    assert store.newest() == 1


@pytest.mark.parametrize(("told", "status"), [(True, "interrupted"), (False, "error")])
def test_a_task_that_ends_without_a_word_was_interrupted_where_it_was_told_to_end(
    told: bool, status: str, store: Store, cells: list[Cell], tmp_path: Path
) -> None:
    cluster = Cluster([PLACED])
    driver = drive(store, tmp_path, cells[:1], cluster)
    get = cluster.get

    def heard(message: Any, timeout: float) -> Any:
        if told:
            driver.queue.interrupt()
        return get(message, timeout)

    cluster.get = heard  # type: ignore[method-assign]
    assert driver.run().statuses == {status: 1}
    assert statuses(store, cells[:1]) == [status]


def test_a_cell_that_another_command_takes_over_is_waited_for(
    store: Store, cells: list[Cell], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr("suite.scheduling.queue.LOOK_SECONDS", 0.0)
    cluster = Cluster([PLACED, DONE], [PLACED])
    get = cluster.get
    with open_store(f"sqlite:///{tmp_path}/store.sqlite") as other:
        other._owner = Owner("elsewhere", 1)
        taken: list[int] = []

        def stolen(message: Any, timeout: float) -> Any:
            if message is DONE:
                (run,) = store._running
                store._change(RunRow.id == run, status="interrupted")
                store.session.commit()
                theirs = claim(other, cells[0]).run
                assert theirs is not None
                taken.append(theirs)
            elif taken:
                other.finish(taken[0], "done")
            return get(message, timeout)

        cluster.get = stolen  # type: ignore[method-assign]
        summary = drive(store, tmp_path, cells[:1], cluster).run()
    assert summary.statuses == {"interrupted": 1}
    assert summary.elsewhere == {"done": 1}
    assert statuses(store, cells[:1]) == ["done"]


def test_a_cell_that_ran_out_of_memory_runs_again_alone_on_a_whole_gpu(
    store: Store, cells: list[Cell], tmp_path: Path
) -> None:
    cluster = Cluster([PLACED, OOM], [PLACED, DONE], [PLACED, DONE])
    driver = drive(store, tmp_path, cells[:2], cluster, retry_oom=True, slots_per_device=2)
    assert driver.run().statuses == {"done": 2}
    assert [order.cell for order, _, _ in cluster.orders] == [*cells[:2], cells[0]]
    order, options, beside = cluster.orders[-1]
    assert (options["num_gpus"], order.contended, beside) == (1, False, 0)
    assert cluster.orders[0][1]["num_gpus"] == 0.5
    found = store.session.connection().exec_driver_sql("SELECT status, contended FROM runs ORDER BY id").all()
    assert found == [("oom", 1), ("done", 1), ("done", 0)]


def test_a_cell_that_runs_out_of_memory_again_is_given_up(store: Store, cells: list[Cell], tmp_path: Path) -> None:
    cluster = Cluster([PLACED, OOM], [PLACED, OOM])
    assert drive(store, tmp_path, cells[:1], cluster, retry_oom=True).run().statuses == {"oom": 1}
    assert drive(store, tmp_path, cells[:1], Cluster([PLACED, OOM])).run().statuses == {"oom": 1}
