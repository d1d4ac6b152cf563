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
from suite.scheduling.messages import Finished, Job, Loaded, Measured, Message, Noted, Ready, Stop
from suite.scheduling.output import Output, log_file
from suite.scheduling.processes import end_group
from suite.scheduling.recording import record
from suite.scheduling.server import start
from suite.scheduling.sharing import SharedQueue
from suite.scheduling.site import FLUSH_SECONDS, GRACE_SECONDS, Site, Summary, View, on_signals
from suite.scheduling.worker import work

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from suite.cell import Cell
    from suite.scheduling.slots import Slot
    from suite.spec.budget import Scheduling


@dataclass
class _Worker:
    slot: Slot
    process: BaseProcess
    connection: Connection
    inbox: Inbox
    output: Output
    alive: Connection  # closed with this process, whose end the worker's group does not outlive
    ready: bool = False
    run: int | None = None
    cell: Cell | None = None
    begun: float = 0.0  # the cell at hand, by the monotonic clock
    heard: float = 0.0  # the last message
    asked: float | None = None  # to end the cell at hand, for taking too long
    why: str | None = None  # it was asked

    def overdue(self, rules: Scheduling) -> str | None:
        """Why its cell is to be ended; None where it is not."""
        now = time.monotonic()
        if self.cell is None:
            return None
        if rules.wall_seconds is not None and now - self.begun > rules.wall_seconds:
            return f"took more than the {rules.wall_seconds:g} seconds of scheduling.wall_seconds"
        if now - self.heard > rules.silent_seconds:
            return f"sent nothing for the {rules.silent_seconds:g} seconds of scheduling.silent_seconds"
        return None


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
        self.queue = SharedQueue(cells, site.store, site.provenance)
        self.retried: set[str] = set()
        self.slots = site.slots[: 1 if site.rules.timing == "exclusive" else len(cells)]
        self.store, self.folders, self.rules = site.store, site.folders, site.rules
        self.logs = site.logs
        self.view = view
        self.summary = Summary()
        self.workers: list[_Worker] = []
        self.signals = 0
        self.deadline = float("inf")
        self._resources = contextlib.ExitStack()

    def __enter__(self) -> _Scheduler:
        self._resources.enter_context(on_signals(self._on_signal))
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            _end(worker)
            worker.output.close()
        self._resources.close()

    def run(self) -> Summary:
        self.workers = [self._spawn(slot) for slot in self.slots]
        flushed = time.monotonic()
        stopping = False
        while self.workers:
            printing = [w.output.pipe for w in self.workers if w.output.open]
            for ready in wait([*printing, *(w.connection for w in self.workers)], timeout=0.1):
                for worker in [w for w in self.workers if ready in (w.connection, w.output.pipe)]:
                    if ready is worker.connection:
                        self._receive(worker)
                    else:
                        worker.output.read()
            if time.monotonic() - flushed > FLUSH_SECONDS:
                self._flush()
                flushed = time.monotonic()
            if self.signals and not stopping:
                stopping = True
                self._stop()
            self._watch()
            if self.signals > 1 or time.monotonic() > self.deadline:
                for worker in list(self.workers):
                    self._bury(worker, "interrupted", None)
            elif not self.signals and self.queue.look():
                for worker in [w for w in self.workers if w.ready and w.run is None]:
                    self._dispatch(worker)
            self.view.refresh()
        self.store.flush()
        self.summary.elsewhere = self.queue.ended
        return self.summary

    def _watch(self) -> None:
        """See to workers that are dead, and end cells that take too long: ask, terminate, kill."""
        now = time.monotonic()
        for worker in list(self.workers):
            if worker.process.exitcode is not None and not worker.connection.poll():
                self._lost(worker)  # what it has forked holds its end of the pipe open
                continue
            if worker.asked is None:
                worker.why = worker.overdue(self.rules)
                if worker.why is None:
                    continue
                worker.asked = now
                with contextlib.suppress(OSError):
                    worker.connection.send(Stop())
            elif now - worker.asked > GRACE_SECONDS:
                self._bury(worker, "timeout", f"the cell {worker.why}")
                self._replace(worker.slot)

    def _on_signal(self) -> None:
        self.signals += 1
        self.summary.interrupted = True
        self.store.hurried = self.signals > 1  # it may be waiting for the store now

    def _flush(self) -> None:
        for run in self.store.flush():
            for worker in [w for w in self.workers if w.run == run]:
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
        worker.heard = time.monotonic()
        match message:
            case Ready():
                worker.ready = True
                self._dispatch(worker)
            case Loaded():
                record(self.store, message)
            case Measured():
                record(self.store, message)
                if worker.cell is not None:
                    self.view.measured(worker.cell, worker.slot, message.records)
            case Noted():
                if worker.cell is not None:
                    self.view.noted(worker.cell, message.text)
            case Finished():
                status, error = message.status, message.error
                if worker.asked is not None and status == "interrupted":
                    status, error = "timeout", f"the cell {worker.why}"
                self._finish(worker, status, error, message.peak_memory)
                if worker.asked is None:
                    self._dispatch(worker)
                else:  # it was told to stop, and leaves
                    self._bury(worker, status, error)
                    self._replace(worker.slot)

    def _take(self, worker: _Worker) -> tuple[Cell, int] | None:
        quiet = not any(w.cell for w in self.workers)
        return self.queue.take(worker.slot.name, crowded=len(self.slots) > 1, quiet=quiet)

    def _dispatch(self, worker: _Worker) -> None:
        taken = None if self.signals else self._take(worker)
        if taken is None:
            idle = sum(w.run is None for w in self.workers)
            if self.signals or idle > self.queue.elsewhere:  # else it waits for what another command runs
                self.workers.remove(worker)
                _end(worker)
                worker.output.close()
            self.view.elsewhere(self.queue.elsewhere, self.queue.ended.total())
            return
        worker.cell, worker.run = cell, run = taken
        worker.asked, worker.begun = None, time.monotonic()
        worker.heard = worker.begun
        worker.output.begin(log_file(self.logs, run))
        self.view.started(cell, worker.slot)
        try:
            worker.connection.send(Job(run, cell, self.folders))
        except OSError:
            self._lost(worker)

    def _finish(self, worker: _Worker, status: str, error: str | None, peak_memory: int | None = None) -> None:
        if worker.run is None or worker.cell is None:
            return
        worker.output.end()
        if not self.store.finish(worker.run, status, error=error, peak_memory=peak_memory):
            status, error = "interrupted", "taken over by another command: this one was silent for too long"
            self.queue.lose(worker.cell)
        if status == "oom" and self.rules.retry_oom and worker.cell.key not in self.retried:
            self.retried.add(worker.cell.key)
            self.queue.retry_alone(worker.cell)
        else:
            self.summary.count(status)
        self.view.finished(worker.cell, worker.slot, status, error)
        worker.run = worker.cell = None

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
        elif self.queue and not self.workers and not self.signals:
            raise SuiteError(f"no worker process could start: it ended with {cause}\n{printable(output)}")

    def _replace(self, slot: Slot) -> None:
        """A new worker in a slot, while cells are left."""
        if self.queue and not self.signals:
            self.workers.append(self._spawn(slot))

    def _bury(self, worker: _Worker, status: str, error: str | None) -> None:
        self.workers.remove(worker)
        _end(worker)
        self._finish(worker, status, error)
        worker.output.close()

    def _stop(self) -> None:
        self.deadline = time.monotonic() + GRACE_SECONDS
        self.view.stopping()
        for worker in list(self.workers):
            if worker.run is None:
                self._bury(worker, "interrupted", None)
            else:
                with contextlib.suppress(OSError):
                    worker.connection.send(Stop())


def _end(worker: _Worker) -> None:
    """End the process, gently where it is idle, and close the pipe."""
    with contextlib.suppress(OSError):
        if worker.run is None and worker.ready:
            worker.connection.send(Stop())
            worker.process.join(2)
    end_group(worker.process)
    worker.connection.close()
    worker.alive.close()
