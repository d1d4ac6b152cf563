"""The SLURM executor: a job a cell, each with a store of its own, a shard; shards are folded as their jobs end.

The folder of shards is all that is remembered of jobs, so that the command may end and be called again:

    <key>.sqlite   what the jobs of a cell have measured
    <key>.lock     held by the job that measures it
    <key>.json     the job that was submitted for it and is not collected yet
    jobs/          submitit's own: job scripts, output

A shard lies on a file system that the cluster shares, where SQLite's log cannot be: it is opened by one process at a
time, the job and then, once that is over, the command.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from suite.errors import SuiteError
from suite.scheduling.local import FLUSH_SECONDS, Summary, on_signals
from suite.scheduling.messages import Finished, Job
from suite.scheduling.output import KEPT_BYTES, Log, end_of, log_file
from suite.scheduling.recording import record
from suite.scheduling.remote import Order, settle
from suite.scheduling.slots import Slot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from suite.bounds import Slurm
    from suite.matrix import Cell
    from suite.scheduling.local import Site, View
    from suite.store import RunRow, Store

POLL_SECONDS = 1.0
"""How often jobs are looked at. SLURM itself is asked far less often: a job's own files tell when it is over."""

_STARTING_SECONDS = 60.0  # a local job that another command has submitted holds its lock by then


class Text(NamedTuple):
    """The specification, for the shards."""

    name: str
    text: str


def measure(order: Order, text: Text, shard: str, wall_seconds: float | None) -> None:
    """A job: measure a cell into its shard, unless another job does or it is measured there.

    SIGTERM, or SLURM's warning that the time is nearly over, ends it with what is measured so far.
    """
    from filelock import FileLock, Timeout

    from suite.environment import current_environment
    from suite.scheduling.worker import measuring
    from suite.store import open_store

    stops: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2):
        signal.signal(number, lambda number, _: stops.append(number))
    begun = time.monotonic()

    def overdue() -> bool:
        return wall_seconds is not None and time.monotonic() - begun > wall_seconds

    lock = FileLock(Path(shard).with_suffix(".lock"), timeout=0)
    with contextlib.suppress(Timeout), lock, open_store(f"sqlite:///{shard}") as store:
        try:
            device, fault = settle(order), None
        except SuiteError as error:
            device, fault = None, str(error)
        _end_of_dead_jobs(store, "interrupted", None)  # the lock is ours: nothing is at work
        claim = store.claim(
            order.cell,
            experiment=store.experiment(*text),
            environment=store.environment(current_environment()),
            fingerprint=order.fingerprint,
            device=str(device or "none"),
            contended=order.contended,
            since=store.newest(),
        )
        if claim.run is None:
            return
        if device is None:
            store.finish(claim.run, "error", fault)
            return
        flushed = time.monotonic()
        for message in measuring(Job(claim.run, order.cell, order.folders), device, lambda: bool(stops) or overdue()):
            if isinstance(message, Finished) and message.status == "interrupted" and overdue():
                why = f"the cell took more than the {wall_seconds:g} seconds of scheduling.wall_seconds"
                message = Finished(message.run, "timeout", why, message.peak_memory)
            record(store, message)
            if time.monotonic() - flushed > FLUSH_SECONDS:
                store.flush()
                flushed = time.monotonic()


@dataclass(frozen=True)
class Submitted:
    """A cell whose job is not collected yet."""

    cell: Cell
    job: Any  # submitit's
    ours: bool  # this command has submitted it

    @property
    def slot(self) -> Slot:
        """The job as the screen shows it."""
        return Slot(f"job:{self.job.job_id}", "", (), 1)


def run_cells(cells: Sequence[Cell], site: Site, view: View, *, shards: Path, db: str) -> Summary:
    """Have every cell measured by a job of its own, and fold what they have measured into the store.

    Jobs of an earlier command that are still in the queue or at work are waited for, those that are over are collected.
    Ctrl-C leaves the jobs to themselves: the same command goes on from there.

    Args:
        cells: what is to be measured.
        site: the store, the folders of data and what a job asks for.
        view: what watches.
        shards: the folder of shards, on a file system that all machines share.
        db: the store's URL.

    Raises:
        SuiteError: submitit is not installed, there is no SLURM here, or it refuses the jobs.

    """
    return _Queue(site, view, Shards(shards, site), db).run(cells)


class Shards:
    """The folder, and the jobs that it tells of."""

    def __init__(self, folder: Path, site: Site) -> None:
        self.folder = folder.resolve() / site.provenance.fingerprint
        self.folder.mkdir(parents=True, exist_ok=True)
        self.jobs = self.folder / "jobs"
        self.rules: Slurm = site.rules.slurm
        self._submitit = _submitit()
        self._executor = self._make_executor(exclusive=site.rules.timing == "exclusive")

    def shard(self, cell: Cell) -> Path:
        """Where a cell is measured into."""
        return self.folder / f"{cell.key}.sqlite"

    def submit(self, orders: Sequence[Order], text: Text, wall_seconds: float | None) -> list[Submitted]:
        """One array of jobs."""
        shards = [str(self.shard(order.cell)) for order in orders]
        count = len(orders)
        try:
            jobs = self._executor.map_array(measure, orders, [text] * count, shards, [wall_seconds] * count)
        except (
            self._submitit.core.utils.FailedJobError,
            self._submitit.core.utils.FailedSubmissionError,
            OSError,
        ) as error:
            raise SuiteError(f"SLURM refuses the jobs: {' '.join(str(error).split())[-500:]}") from None
        submitted = [Submitted(order.cell, job, ours=True) for order, job in zip(orders, jobs, strict=True)]
        for one in submitted:
            self._note(one.cell).write_text(json.dumps({"job": one.job.job_id, "cluster": self.rules.cluster}))
        return submitted

    def earlier(self, cell: Cell) -> Submitted | None:
        """The job that another command has submitted for a cell, and none has collected."""
        try:
            note = json.loads(self._note(cell).read_text())
            number, cluster = str(note["job"]), note["cluster"]
        except (OSError, ValueError, TypeError, KeyError):
            return None
        if cluster != self.rules.cluster or not re.fullmatch(r"\d+(_\d+)?", number):
            return None
        kind = self._submitit.SlurmJob if cluster == "slurm" else self._submitit.LocalJob
        return Submitted(cell, kind(self.jobs, number), ours=False)

    def is_over(self, one: Submitted) -> bool:
        """Whether a job has ended, or never will."""
        if one.job.paths.result_pickle.exists():
            return True
        if self.rules.cluster == "slurm" or one.ours:
            return bool(one.job.done())
        if self.is_locked(one.cell):
            return False
        return time.time() - self._note(one.cell).stat().st_mtime > _STARTING_SECONDS or not _is_alive(one.job.job_id)

    def is_locked(self, cell: Cell) -> bool:
        """Whether a job is at work on a cell."""
        from filelock import FileLock, Timeout

        try:
            with FileLock(self.shard(cell).with_suffix(".lock"), timeout=0):
                return False
        except Timeout:
            return True

    def forget(self, cell: Cell) -> None:
        """A cell's job is collected."""
        self._note(cell).unlink(missing_ok=True)

    def _note(self, cell: Cell) -> Path:
        return self.folder / f"{cell.key}.json"

    def _make_executor(self, *, exclusive: bool) -> Any:
        rules = self.rules
        try:
            executor = self._submitit.AutoExecutor(self.jobs, cluster=rules.cluster)
        except RuntimeError as error:
            raise SuiteError(
                f"--executor slurm: {error}; scheduling.slurm.cluster: local tries it on this machine"
            ) from None
        given = {
            "mem_gb": rules.memory_gb,
            "slurm_partition": rules.partition,
            "slurm_account": rules.account,
            "slurm_exclusive": exclusive or None,
        }
        executor.update_parameters(
            name="kfsvd-bench",
            timeout_min=rules.minutes,
            cpus_per_task=rules.cpus,
            gpus_per_node=rules.gpus,
            slurm_array_parallelism=rules.parallel,
            **{name: value for name, value in given.items() if value is not None},
        )
        return executor


class _Queue:
    def __init__(self, site: Site, view: View, shards: Shards, db: str) -> None:
        self.site, self.view, self.shards, self.db = site, view, shards, db
        self.waiting: deque[Cell] = deque()
        self.submitted: list[Submitted] = []
        self.summary = Summary()
        self.signals = 0

    def run(self, cells: Sequence[Cell]) -> Summary:
        for cell in cells:
            earlier = self.shards.earlier(cell)
            if earlier is not None:
                self._follow(earlier)
            else:
                self.waiting.append(cell)
        with on_signals(self._on_signal):
            while (self.waiting or self.submitted) and not self.signals:
                self._submit()
                for one in [one for one in self.submitted if self.shards.is_over(one)]:
                    self._collect(one)
                self.view.refresh()
                time.sleep(POLL_SECONDS)
        return self.summary

    def _on_signal(self) -> None:
        self.signals += 1
        self.summary.interrupted = True
        self.view.stopping()

    def _submit(self) -> None:
        """All at once to SLURM, which knows how many may run; to this machine as many as may."""
        rules, room = self.site.rules, len(self.waiting)
        if rules.slurm.cluster == "local":
            room = min(room, (1 if rules.timing == "exclusive" else rules.slurm.parallel) - len(self.submitted))
        if room <= 0:
            return
        orders = [self._order(self.waiting.popleft()) for _ in range(room)]
        for one in self.shards.submit(orders, self._text(), rules.wall_seconds):
            self._follow(one)

    def _follow(self, one: Submitted) -> None:
        self.submitted.append(one)
        self.view.started(one.cell, one.slot)

    def _order(self, cell: Cell) -> Order:
        rules = self.site.rules
        return Order(
            cell,
            self.site.folders,
            self.site.provenance.fingerprint,
            threads=rules.slurm.cpus,
            accelerated=rules.slurm.gpus > 0,
            contended=rules.timing != "exclusive",
        )

    def _text(self) -> Text:
        from suite.store.tables import Experiment

        row = self.site.store.session.get_one(Experiment, self.site.provenance.experiment)
        return Text(row.name, row.text)

    def _collect(self, one: Submitted) -> None:
        """Fold the shard of a job that is over, or record what it had to say where it has none.

        A job that ended without a word while no command was there to see it is as good as interrupted: its cell is run
        again.
        """
        if self.shards.is_locked(one.cell):  # by another job for the same cell
            return
        if self.shards.shard(one.cell).exists():
            self._fold(one)
        run = self._latest(one.cell)
        if run is None and one.ours:
            self._never_began(one)
            run = self._latest(one.cell)
        self.shards.forget(one.cell)
        self.submitted.remove(one)
        if not one.ours and (run is None or run.status == "interrupted"):
            self.waiting.append(one.cell)
        if run is not None:
            Log(log_file(self.site.logs, run.id)).add(_printed(one.job))
        if run is None or one.cell in self.waiting:
            self.view.finished(one.cell, one.slot, "interrupted", None)
            return
        self.summary.count(run.status)
        self.view.measured(one.cell, one.slot, _last(self.site.store, run.id))
        self.view.finished(one.cell, one.slot, run.status, run.error)

    def _latest(self, cell: Cell) -> RunRow | None:
        """The latest run of a cell, if the store has it from this command."""
        run = self.site.store.latest([cell.key]).get(cell.key)
        return run if run is not None and run.id > self.site.provenance.since else None

    def _fold(self, one: Submitted) -> None:
        from suite.store import open_store
        from suite.store.merging import fold, open_source

        url = f"sqlite:///{self.shards.shard(one.cell)}"
        with open_store(url) as shard:
            _end_of_dead_jobs(shard, "error" if one.ours else "interrupted", _last_words(one.job))
        with open_source(url) as source:
            fold(source, self.site.store, source_url=url, target_url=self.db)

    def _never_began(self, one: Submitted) -> None:
        """Record a job that ended before it came to its cell."""
        provenance = self.site.provenance
        claim = self.site.store.claim(
            one.cell,
            experiment=provenance.experiment,
            environment=provenance.environment,
            fingerprint=provenance.fingerprint,
            since=provenance.since,
            device=one.slot.name,
            contended=False,
        )
        if claim.run is not None:
            self.site.store.finish(claim.run, "error", _last_words(one.job))


def _end_of_dead_jobs(shard: Store, status: str, error: str | None) -> None:
    """Record that what a shard takes to be at work is not."""
    import sqlalchemy as sa

    from suite.store import RunRow

    at_work = sa.update(RunRow).where(RunRow.status == "running")
    ended = at_work.values(status=status, error=error, ended_at=RunRow.heartbeat_at)
    shard.transaction(lambda: shard.session.execute(ended, execution_options={"synchronize_session": False}))


def _last_words(job: Any) -> str:
    output = job.paths.stderr
    text = output.read_text(errors="replace")[-4000:] if output.exists() else ""
    return f"the job {job.job_id} ended without a word ({job.state})\n{text}"


def _printed(job: Any) -> bytes:
    """The end of what a job has printed."""
    files = [path for path in (job.paths.stdout, job.paths.stderr) if path.exists()]
    return b"".join(map(end_of, files))[-KEPT_BYTES:]


def _last(store: Store, run: int) -> Any:
    """The last iteration of a run, for the screen."""
    import sqlalchemy as sa

    from suite.records import Iteration, Records
    from suite.store.tables import IterationRow

    table: Any = IterationRow.__table__
    columns = [column for column in table.columns if column.name != "run_id"]
    query = sa.select(*columns).where(table.c.run_id == run).order_by(table.c.iteration.desc()).limit(1)
    rows = store.session.execute(query).all()
    return Records([Iteration._make(float("nan") if value is None else value for value in row) for row in rows], [], [])


def _is_alive(pid: str) -> bool:
    return os.path.exists(f"/proc/{pid}") if os.path.isdir("/proc/self") else True


def _submitit() -> Any:
    try:
        import submitit
    except ModuleNotFoundError:
        raise SuiteError("--executor slurm needs submitit: pip install 'kfsvd-bench[slurm]'") from None
    return submitit
