"""The local executor: one worker process a slot, one writer, nothing measured is lost."""

from __future__ import annotations

import contextlib
import signal
import time
from dataclasses import dataclass
from multiprocessing.connection import Pipe, wait
from typing import TYPE_CHECKING

from suite.errors import SuiteError, printable
from suite.scheduling.inbox import GarbageError, Inbox
from suite.scheduling.messages import Finished, Job, Message, Ready, Stop
from suite.scheduling.output import Output, log_file
from suite.scheduling.processes import end_group
from suite.scheduling.queue import SharedQueue
from suite.scheduling.server import start
from suite.scheduling.site import GRACE_SECONDS, Site, Summary, View, on_signals
from suite.scheduling.worker import work

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from suite.cell import Cell
    from suite.scheduling.queue import Attempt
    from suite.scheduling.slots import Slot


@dataclass
class _Worker:
    slot: Slot
    process: BaseProcess
    connection: Connection
    inbox: Inbox
    output: Output
    alive: Connection  # closed with this process, whose end the worker's group does not outlive
    ready: bool = False
    attempt: Attempt | None = None  # the cell at hand
    asked: float | None = None  # to end the cell at hand, for taking too long
    why: str | None = None  # it was asked


def run_cells(cells: Sequence[Cell], site: Site, view: View) -> Summary:
    """Train every cell, each in the first slot that is free, in the order given.

    A worker that dies takes its own cell along (recorded as an error, with the end of its output) and is replaced.
    A cell that takes too long is asked to end, then its worker is terminated, then killed, and whatever that one has
    started with it. What other commands on the same store run is waited for, and taken over where they die. Ctrl-C or
    SIGTERM once: workers send what they have measured, their cells are recorded as interrupted. Twice: workers are
    killed at once.
    """
    with _Scheduler(cells, site, view) as scheduler:
        return scheduler.run()


class _Scheduler:
    def __init__(self, cells: Sequence[Cell], site: Site, view: View) -> None:
        self.site, self.view = site, view
        self.slots = site.slots[: 1 if site.rules.timing == "exclusive" else len(cells)]
        self.queue = SharedQueue(cells, site, view, crowded=len(self.slots) > 1)
        self.workers: list[_Worker] = []
        self._resources = contextlib.ExitStack()

    def __enter__(self) -> _Scheduler:
        self._resources.enter_context(on_signals(self.queue.interrupt))
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            _end(worker)
            worker.output.close()
        self._resources.close()

    def run(self) -> Summary:
        self.workers = [self._spawn(slot) for slot in self.slots]
        stopping = False
        while self.workers:
            printing = [w.output.pipe for w in self.workers if w.output.open]
            for ready in wait([*printing, *(w.connection for w in self.workers)], timeout=0.1):
                for worker in [w for w in self.workers if ready in (w.connection, w.output.pipe)]:
                    if ready is worker.connection:
                        self._receive(worker)
                    else:
                        worker.output.read()
            self._flush()
            if self.queue.signals and not stopping:
                stopping = True
                self._stop()
            self._watch()
            if self.queue.time_is_up:
                for worker in list(self.workers):
                    self._bury(worker, "interrupted", None)
            elif self.queue.look():
                for worker in [w for w in self.workers if w.ready and w.attempt is None]:
                    self._dispatch(worker)
            self.view.refresh()
        self.site.store.flush()
        return self.queue.summary

    def _watch(self) -> None:
        """See to workers that are dead, and end cells that take too long: ask, terminate, kill."""
        now = time.monotonic()
        for worker in list(self.workers):
            if worker.process.exitcode is not None and not worker.connection.poll():
                self._lost(worker)  # what it has forked holds its end of the pipe open
                continue
            if worker.asked is None:
                worker.why = None if worker.attempt is None else worker.attempt.overdue(self.site.rules)
                if worker.why is None:
                    continue
                worker.asked = now
                with contextlib.suppress(OSError):
                    worker.connection.send(Stop())
            elif now - worker.asked > GRACE_SECONDS:
                self._bury(worker, "timeout", worker.why)
                self._replace(worker.slot)

    def _flush(self) -> None:
        lost = self.queue.flush()
        for worker in [w for w in self.workers if w.attempt in lost]:
            self._bury(worker, "interrupted", None)
            self._replace(worker.slot)

    def _spawn(self, slot: Slot) -> _Worker:
        ours, theirs = Pipe()
        output, printed = Pipe(duplex=False)
        watched, alive = Pipe(duplex=False)
        process = start(work, theirs, slot, printed, watched, name=f"kfsvd {slot.name}", threads=slot.threads)
        for end in (theirs, printed, watched):
            end.close()
        return _Worker(slot, process, ours, Inbox(ours), Output(output), alive)

    def _receive(self, worker: _Worker) -> None:
        try:
            worker.inbox.read()
        except (EOFError, OSError):
            self._lost(worker)
            return
        try:
            for message in worker.inbox.messages():
                self._heed(worker, message)
                if worker.connection.closed:  # that was its last
                    return
        except GarbageError as problem:
            self._bury(worker, "error", f"the worker process sent what cannot be read ({problem})")
            self._replace(worker.slot)

    def _heed(self, worker: _Worker, message: Message) -> None:
        match message:
            case Ready():
                worker.ready = True
                self._dispatch(worker)
            case Finished():
                status, error = message.status, message.error
                if worker.asked is not None and status == "interrupted":
                    status, error = "timeout", worker.why
                self._finish(worker, status, error, message.peak_memory)
                if worker.asked is None:
                    self._dispatch(worker)
                else:  # it was told to stop, and leaves
                    self._bury(worker, status, error)
                    self._replace(worker.slot)
            case _ if worker.attempt is not None:
                self.queue.heed(worker.attempt, message)

    def _dispatch(self, worker: _Worker) -> None:
        attempt = self.queue.take(worker.slot.name)
        if attempt is None:
            idle = sum(w.attempt is None for w in self.workers)
            if self.queue.signals or idle > self.queue.elsewhere:  # else it waits for what another command runs
                self.workers.remove(worker)
                _end(worker)
                worker.output.close()
            return
        worker.attempt, worker.asked = attempt, None
        worker.output.begin(log_file(self.site.logs, attempt.run))
        self.queue.start(attempt, worker.slot)
        try:
            worker.connection.send(Job(attempt.run, attempt.cell, self.site.folders))
        except OSError:
            self._lost(worker)

    def _finish(self, worker: _Worker, status: str, error: str | None, peak_memory: int | None = None) -> None:
        if worker.attempt is not None:
            worker.output.end()
            self.queue.finish(worker.attempt, status, error, peak_memory)
            worker.attempt = None

    def _lost(self, worker: _Worker) -> None:
        """The worker's process has ended by itself: record its cell, and replace it while cells are left."""
        worker.process.join(5)
        code = worker.process.exitcode
        cause = f"signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"
        output = worker.output.last_words()
        started = worker.ready
        self._bury(worker, "error", f"the worker process ended with {cause}\n{output}")
        if started:
            self._replace(worker.slot)
        elif self.queue and not self.workers:
            raise SuiteError(f"no worker process could start: it ended with {cause}\n{printable(output)}")

    def _replace(self, slot: Slot) -> None:
        """A new worker in a slot, while cells are left."""
        if self.queue:
            self.workers.append(self._spawn(slot))

    def _bury(self, worker: _Worker, status: str, error: str | None) -> None:
        self.workers.remove(worker)
        _end(worker)
        self._finish(worker, status, error)
        worker.output.close()

    def _stop(self) -> None:
        self.view.stopping()
        for worker in list(self.workers):
            if worker.attempt is None:
                self._bury(worker, "interrupted", None)
            else:
                with contextlib.suppress(OSError):
                    worker.connection.send(Stop())


def _end(worker: _Worker) -> None:
    """End the process, gently where it is idle, and close the pipe."""
    with contextlib.suppress(OSError):
        if worker.attempt is None and worker.ready:
            worker.connection.send(Stop())
            worker.process.join(2)
    end_group(worker.process)
    worker.connection.close()
    worker.alive.close()
