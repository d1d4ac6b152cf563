"""Jobs of the SLURM executor, and the folder of shards into which they measure.

The folder is all that is remembered of jobs, so that the command may end and be called again:

    <key>.sqlite   what the jobs of a cell have measured
    <key>.lock     held by the job that measures it, or by the command that folds it
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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from suite.errors import SuiteError
from suite.scheduling.messages import Finished, Job
from suite.scheduling.recording import record
from suite.scheduling.remote import Order, settle
from suite.scheduling.site import FLUSH_SECONDS
from suite.scheduling.slots import Slot
from suite.scheduling.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from suite.cell import Cell
    from suite.scheduling.site import Site
    from suite.spec.budget import Slurm
    from suite.store import Store

_FOLDING_SECONDS = 30.0  # a shard is folded within, so that a job waits as long for its lock
_STARTING_SECONDS = 60.0  # a local job that another command has submitted holds its lock by then


class Text(NamedTuple):
    """The specification, for the shards."""

    name: str
    text: str


class Limits(NamedTuple):
    """How long a job may be at work."""

    wall_seconds: float | None  # by the specification
    seconds: float  # by SLURM

    def exceeded(self, watch: Watch, signals: Sequence[int]) -> str | None:
        """Why a job is to end as out of time; None where it is not, though it may have been told to end.

        SLURM sends one signal before it preempts a job and before the job's time is over: the latter comes late.
        """
        why = watch.overdue(self.wall_seconds)
        if why is None and signal.SIGUSR2 in signals and watch.elapsed > min(0.8 * self.seconds, self.seconds - 150):
            why = f"the cell took more than the {self.seconds / 60:g} minutes of scheduling.slurm.minutes"
        return why


def measure(order: Order, text: Text, shard: str, limits: Limits) -> None:
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
    watch = Watch()
    watch.begin()

    def overdue() -> str | None:
        return limits.exceeded(watch, stops)

    lock = FileLock(Path(shard).with_suffix(".lock"), timeout=_FOLDING_SECONDS)
    with contextlib.suppress(Timeout), lock, open_store(f"sqlite:///{shard}") as store:
        try:
            device, fault = settle(order), None
        except SuiteError as error:
            device, fault = None, str(error)
        end_of_dead_jobs(store, "interrupted", None)  # the lock is ours: nothing is at work
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
        job = Job(claim.run, order.cell, order.folders)
        for message in measuring(job, device, lambda: bool(stops or overdue())):
            if isinstance(message, Finished) and message.status == "interrupted" and (why := overdue()):
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
        limits = Limits(wall_seconds, 60.0 * self.rules.minutes)
        shards = [str(self.shard(order.cell)) for order in orders]
        count = len(orders)
        try:
            jobs = self._executor.map_array(measure, orders, [text] * count, shards, [limits] * count)
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
        with self.locked(one.cell) as free:
            if not free:
                return False
        try:
            noted = self._note(one.cell).stat().st_mtime
        except FileNotFoundError:  # another command has collected it
            return True
        return time.time() - noted > _STARTING_SECONDS or not _is_alive(one.job.job_id)

    @contextlib.contextmanager
    def locked(self, cell: Cell) -> Iterator[bool]:
        """Keep jobs from a cell inside; says whether that is so, or one is at work on it."""
        from filelock import FileLock, Timeout

        lock = FileLock(self.shard(cell).with_suffix(".lock"), timeout=0)
        try:
            lock.acquire()
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def forget(self, one: Submitted) -> None:
        """A job is collected; what is noted of a later one stays."""
        noted = self.earlier(one.cell)
        if noted is None or noted.job.job_id == one.job.job_id:
            self._note(one.cell).unlink(missing_ok=True)

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


def end_of_dead_jobs(shard: Store, status: str, error: str | None) -> None:
    """Record that what a shard takes to be at work is not."""
    import sqlalchemy as sa

    from suite.store import RunRow

    at_work = sa.update(RunRow).where(RunRow.status == "running")
    ended = at_work.values(status=status, error=error, ended_at=RunRow.heartbeat_at)
    shard.transaction(lambda: shard.session.execute(ended, execution_options={"synchronize_session": False}))


def _is_alive(pid: str) -> bool:
    return os.path.exists(f"/proc/{pid}") if os.path.isdir("/proc/self") else True


def _submitit() -> Any:
    try:
        import submitit
    except ModuleNotFoundError:
        raise SuiteError("--executor slurm needs submitit: pip install 'kfsvd-bench[slurm]'") from None
    return submitit
