"""The Ray executor: a task a cell, whose records come back to this process as they are measured.

A task is a generator. Ray itself would run one that is lost again under the same name, and pass on its records from the
place where the first had come to; but a second attempt measures other seconds, and hands its records over at other
iterations. So Ray retries none: a cell that is lost with its node or worker is run again from here, as another run.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from suite.errors import SuiteError
from suite.scheduling.messages import Finished, Job
from suite.scheduling.queue import SharedQueue
from suite.scheduling.remote import Order, Placed, settle
from suite.scheduling.site import on_signals
from suite.scheduling.slots import Slot

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from suite.cell import Cell
    from suite.scheduling.messages import Message
    from suite.scheduling.queue import Attempt
    from suite.scheduling.site import Site, Summary, View

LOOK_SECONDS = 5.0
"""How often the machines of the cluster are counted, and what other commands run is looked at."""

_KNOCK_SECONDS = 10.0
_FETCH_SECONDS = 1.0  # a round, for records that are ready; the store is flushed and its leases renewed in between
_LOST_SECONDS = 60.0  # a record that is ready and cannot be fetched for so long is gone, with its node


def measure(order: Order) -> Iterator[Placed | Message]:
    """A task: where it is, then what every worker says; its run has no number here."""
    from suite.environment import current_environment
    from suite.scheduling.worker import measuring

    try:
        device = settle(order)
    except SuiteError as error:
        yield Finished(0, "error", str(error), None)
        return
    yield Placed(current_environment(), str(device))
    yield from measuring(Job(0, order.cell, order.folders), device, lambda: False)


def run_cells(cells: Sequence[Cell], site: Site, view: View, *, address: str | None) -> Summary:
    """Have every cell measured by a task of its own, and store what they measure.

    Where the cluster has GPUs a cell takes 1/slots_per_device of one, else the cores of scheduling.ray.cpus. Ctrl-C
    cancels the tasks; what they have sent is kept.

    Args:
        cells: what is to be measured, in the order of their start.
        site: the store, the folders of data and what a task asks for.
        view: what watches.
        address: of the cluster; one on this machine is started if not given.

    Raises:
        SuiteError: Ray is not installed, or there is no cluster at the address.

    """
    ray = _ray()
    driver = _Driver(ray, cells, site, view)
    with _connected(ray, address), on_signals(driver.queue.interrupt):
        return driver.run()


@dataclass
class _Task:
    attempt: Attempt
    stream: Any  # Ray's generator of references to messages
    slot: Slot
    pending: Any = None  # the reference to a message that is ready and not fetched yet
    ready: float = 0.0  # since when it is


class _Driver:
    def __init__(self, ray: Any, cells: Sequence[Cell], site: Site, view: View) -> None:
        self.ray, self.site, self.view = ray, site, view
        self.rules = site.rules
        self.queue = SharedQueue(cells, site, view, crowded=self.rules.timing != "exclusive")
        self.tasks: list[_Task] = []
        self.room = self.looked = 0.0
        self.accelerated = False

    def run(self) -> Summary:
        stopping = False
        while self.tasks or self.queue:
            self._look()
            self._submit()
            self._receive()
            lost = self.queue.flush()
            self._drop([task for task in self.tasks if task.attempt in lost], "interrupted", None)
            for task in list(self.tasks):
                if why := task.attempt.overdue(self.rules):
                    self._drop([task], "timeout", why)
            if self.queue.signals and not stopping:
                stopping = True
                self.view.stopping()
                for task in self.tasks:
                    self.ray.cancel(task.stream)
            if self.queue.time_is_up:
                self._drop(list(self.tasks), "interrupted", None)
            self.view.refresh()
        self.site.store.flush()
        return self.queue.summary

    def _look(self) -> None:
        """Count the machines, which come and go, and ask again for what other commands had."""
        if self.looked and time.monotonic() - self.looked < LOOK_SECONDS:
            return
        self.looked = time.monotonic()
        resources = self.ray.cluster_resources()
        self.accelerated = self.accelerated or resources.get("GPU", 0) > 0
        at_once = resources.get("GPU", 0) * self.rules.slots_per_device
        if not self.accelerated:
            at_once = resources.get("CPU", 0) // self.rules.ray.cpus
        self.room = 1 if self.rules.timing == "exclusive" else 2 * at_once + 1  # some wait at the cluster's door
        self.queue.look()

    def _submit(self) -> None:
        while len(self.tasks) < self.room and (attempt := self.queue.next()) is not None:
            fraction = (1 if attempt.alone else 1 / self.rules.slots_per_device) if self.accelerated else 0
            cores = 0 if self.accelerated else self.rules.ray.cpus
            task = self.ray.remote(measure).options(
                num_cpus=cores, num_gpus=fraction, max_retries=0, num_returns="streaming", name="kfsvd-bench"
            )
            order = Order(
                attempt.cell,
                self.site.folders,
                self.site.provenance.fingerprint,
                threads=self.rules.ray.cpus,
                accelerated=self.accelerated,
                contended=attempt.contended,
            )
            taken = {task.slot.name for task in self.tasks}
            name = next(name for n in range(len(self.tasks) + 1) if (name := f"ray:{n}") not in taken)
            self.tasks.append(_Task(attempt, task.remote(order), Slot(name, "", (), order.threads)))

    def _receive(self) -> None:
        """Fetch what is ready, in no more than `_FETCH_SECONDS`; what does not come is asked for again next time."""
        by_stream = {task.stream: task for task in self.tasks if task.pending is None}
        if by_stream:
            streams, _ = self.ray.wait(list(by_stream), num_returns=len(by_stream), timeout=0.1, fetch_local=False)
        else:
            streams = []
            time.sleep(0.1)
        ready = [task for task in self.tasks if task.pending is not None or task.stream in streams]
        for task in ready:
            self._next(task, _FETCH_SECONDS / len(ready))

    def _next(self, task: _Task, patience: float) -> None:
        """The next message of a task, or what became of it."""
        errors = self.ray.exceptions
        try:
            if task.pending is None:
                task.pending, task.ready = next(task.stream), time.monotonic()
            message = self.ray.get(task.pending, timeout=patience)
        except errors.TaskCancelledError:
            self._forget(task, "interrupted", None)
        except errors.OutOfMemoryError as error:
            self._forget(task, "oom", str(error))
        except (StopIteration, errors.RayError) as error:
            if isinstance(error, errors.GetTimeoutError) and time.monotonic() - task.ready < _LOST_SECONDS:
                return
            if self.queue.signals:  # whatever became of it, it was told to end
                self._drop([task], "interrupted", None)
            elif isinstance(error, StopIteration):
                self._forget(task, "error", "the task ended without a word")
            elif isinstance(error, errors.RayTaskError):
                self._forget(task, "error", str(error))
            else:
                self._lose(task, error)
        else:
            task.pending = None
            self._take(task, message)

    def _take(self, task: _Task, message: Placed | Message) -> None:
        if isinstance(message, Placed):
            self._begin(task, message.device, self.site.store.environment(message.environment))
        elif isinstance(message, Finished):
            self._forget(task, message.status, message.error, message.peak_memory)
        else:
            self.queue.heed(task.attempt, message)

    def _begin(self, task: _Task, device: str = "none", environment: int | None = None) -> bool:
        """Take the cell; a task is let go whose cell another command runs or has ended."""
        if self.queue.claim(task.attempt, device, environment):
            self.queue.start(task.attempt, task.slot)
            return True
        self.ray.cancel(task.stream, force=True)
        self.tasks.remove(task)
        return False

    def _lose(self, task: _Task, error: Exception) -> None:
        """Run a cell again that went down with its node or worker, unless it has done so too often."""
        again, what = self.queue.lost(task.attempt.cell, self.rules.ray.max_retries)
        text = f"the cell was lost with its node or worker, and is {what} ({type(error).__name__})\n{error}"
        self.ray.cancel(task.stream, force=True)  # it may be alive where only its record was lost
        self._forget(task, "error", text, again=again)

    def _drop(self, tasks: list[_Task], status: str, error: str | None) -> None:
        """End tasks by force."""
        for task in tasks:
            self.ray.cancel(task.stream, force=True)
            self._forget(task, status, error)

    def _forget(
        self, task: _Task, status: str, error: str | None, memory: int | None = None, *, again: bool = False
    ) -> None:
        """A task is over; one that failed before it was placed has a run too."""
        if task.attempt.run or again or status == "interrupted" or self._begin(task):
            self.tasks.remove(task)
            self.queue.finish(task.attempt, status, error, memory, again=again)


@contextmanager
def _connected(ray: Any, address: str | None) -> Iterator[None]:
    _check(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a benchmark tells nobody of itself
    try:
        ray.init(
            address=address, log_to_driver=False, logging_level="ERROR", include_dashboard=None if address else False
        )
    except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
        text = " ".join(str(error).split())[:300]
        raise SuiteError(f"--executor ray: no cluster at {address or 'this machine'}: {text}") from None
    try:
        yield
    finally:
        ray.shutdown()


def _check(address: str | None) -> None:
    """Knock at the address: Ray itself would try for minutes."""
    if address in (None, "auto"):
        return
    host, colon, port = str(address).rpartition(":")
    if not colon or not port.isdecimal() or "://" in host:  # ray://: its client passes on no stream of records
        raise SuiteError(f"--address {address}: choose auto, on a node of the cluster, or HOST:PORT of its head")
    try:
        socket.create_connection((host, int(port)), timeout=_KNOCK_SECONDS).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise SuiteError(f"--executor ray: no cluster at {address}: {error}") from None


def _ray() -> Any:
    try:
        import ray
    except ModuleNotFoundError:
        raise SuiteError("--executor ray needs Ray: pip install 'kfsvd-bench[ray]'") from None
    return ray
