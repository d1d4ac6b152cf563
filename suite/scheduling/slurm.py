"""The SLURM executor: a job a cell, each with a store of its own, a shard; shards are folded as their jobs end.

The store holds a lease on every cell whose job is in the queue or at work (`RESERVED`), which the command renews. Once
the shard is folded it is given back.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from suite.errors import SuiteError
from suite.scheduling.output import KEPT_BYTES, Log, end_of, log_file
from suite.scheduling.queue import SharedQueue
from suite.scheduling.remote import Order
from suite.scheduling.shards import Shards, Text, end_of_dead_jobs
from suite.scheduling.site import on_signals
from suite.store.leases import RESERVED

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from suite.cell import Cell
    from suite.scheduling.queue import Attempt
    from suite.scheduling.shards import Submitted
    from suite.scheduling.site import Site, Summary, View
    from suite.store import RunRow, Store

POLL_SECONDS = 1.0
"""How often jobs are looked at. SLURM itself is asked far less often: a job's own files tell when it is over."""


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
    return _Driver(cells, site, view, Shards(shards, site), db).run()


class _Driver:
    def __init__(self, cells: Sequence[Cell], site: Site, view: View, shards: Shards, db: str) -> None:
        self.site, self.view, self.shards, self.db = site, view, shards, db
        noted_first = sorted(cells, key=lambda cell: shards.earlier(cell) is None)
        self.queue = SharedQueue(noted_first, site, view, crowded=site.rules.timing != "exclusive")
        self.submitted: list[tuple[Attempt, Submitted]] = []
        self.known: dict[str, int] = {}  # the last run of a cell that was told of, by its key

    def run(self) -> Summary:
        with on_signals(self._on_signal):
            while (self.queue or self.submitted) and not self.queue.signals:
                self._submit()
                for attempt, one in [both for both in self.submitted if self.shards.is_over(both[1])]:
                    self._collect(attempt, one)
                    self._flush()
                self._flush()
                self.view.refresh()
                time.sleep(POLL_SECONDS)
        self._release()
        return self.queue.summary

    def _on_signal(self) -> None:
        self.queue.interrupt()
        self.view.stopping()

    def _submit(self) -> None:
        """All at once to SLURM, which knows how many may run; to this machine as many as may."""
        self.queue.look()
        attempts: list[Attempt] = []
        while self._has_room(len(attempts)) and (attempt := self.queue.take(RESERVED)) is not None:
            earlier = self.shards.earlier(attempt.cell)
            if earlier is None:
                attempts.append(attempt)
            else:
                self._follow(attempt, earlier)
            self._flush()
        if attempts:
            orders = [self._order(attempt) for attempt in attempts]
            try:
                submitted = self.shards.submit(orders, self._text(), self.site.rules.wall_seconds)
            except SuiteError:
                self._release()
                raise
            for attempt, one in zip(attempts, submitted, strict=True):
                self._follow(attempt, one)

    def _has_room(self, more: int) -> bool:
        rules = self.site.rules
        most = 1 if rules.timing == "exclusive" else rules.slurm.parallel
        return rules.slurm.cluster == "slurm" or len(self.submitted) + more < most

    def _flush(self) -> None:
        """Renew the leases. The job of a cell whose lease is lost goes on, and is collected."""
        for attempt in self.queue.flush():
            self.queue.release(attempt)

    def _release(self) -> None:
        """Give all cells back."""
        for attempt in self.queue.taken:
            self.queue.release(attempt)

    def _follow(self, attempt: Attempt, one: Submitted) -> None:
        self.submitted.append((attempt, one))
        self.queue.start(attempt, one.slot)

    def _order(self, attempt: Attempt) -> Order:
        rules = self.site.rules
        return Order(
            attempt.cell,
            self.site.folders,
            self.site.provenance.fingerprint,
            threads=rules.slurm.cpus,
            accelerated=rules.slurm.gpus > 0,
            contended=attempt.contended,
        )

    def _text(self) -> Text:
        from suite.store.tables import Experiment

        row = self.site.store.session.get_one(Experiment, self.site.provenance.experiment)
        return Text(row.name, row.text)

    def _collect(self, attempt: Attempt, one: Submitted) -> None:
        """Fold the shard of a job that is over, or record what it had to say where it has none.

        A cell whose job was interrupted is run again; so is one whose job ended without a word while no command was
        there to see it.
        """
        with self.shards.locked(one.cell) as free:
            if not free:  # another job for the same cell is at work
                return
            if self.shards.shard(one.cell).exists():
                self._fold(one)
            self.shards.forget(one)
        self.submitted.remove((attempt, one))
        run = self._latest(one.cell)
        if run is not None:
            self._collected(attempt, one, run)
        elif one.ours and attempt.run:  # it ended before it came to its cell
            self._log(one, attempt.run)
            self.queue.finish(attempt, "error", _last_words(one.job))
        else:
            self.queue.release(attempt)
            self.queue.end(attempt, "interrupted", None, again=True)

    def _collected(self, attempt: Attempt, one: Submitted, run: RunRow) -> None:
        """Tell of the run that was folded."""
        self.known[one.cell.key] = run.id
        self._log(one, run.id)
        self.view.measured(one.cell, one.slot, _last(self.site.store, run.id))
        status, error, again = run.status, run.error, False
        if status == "interrupted":
            # What ended the jobs of another command does not count against their cells.
            again, what = self.queue.lost(one.cell, self.site.rules.slurm.max_retries) if one.ours else (True, "")
            status, error = (status, None) if again else ("error", self._given_up(run, what))
        self.queue.release(attempt)
        self.queue.end(attempt, status, error, again=again)

    def _log(self, one: Submitted, run: int) -> None:
        Log(log_file(self.site.logs, run)).add(_printed(one.job))

    def _given_up(self, run: RunRow, what: str) -> str:
        """Record that a cell is not run again, though nothing is wrong with it but its jobs."""
        import sqlalchemy as sa

        from suite.store.tables import RunRow

        store = self.site.store
        text = f"the job was interrupted, by SLURM or a signal, and {what}"
        change = sa.update(RunRow).where(RunRow.id == run.id).values(status="error", error=text)
        store.transaction(lambda: store.session.execute(change, execution_options={"synchronize_session": False}))
        return text

    def _latest(self, cell: Cell) -> RunRow | None:
        """The latest run of a cell that has ended and was not told of, if the store has one from this command."""
        import sqlalchemy as sa

        from suite.store import RunRow

        provenance, session = self.site.provenance, self.site.store.session
        known = self.known.get(cell.key, provenance.since)
        query = sa.select(RunRow).where(RunRow.cell_key == cell.key, RunRow.fingerprint == provenance.fingerprint)
        query = query.where(RunRow.id > known, RunRow.status != "running")
        found = session.scalars(query.order_by(RunRow.started_at.desc(), RunRow.id.desc()).limit(1)).first()
        session.expunge_all()
        session.rollback()
        return found

    def _fold(self, one: Submitted) -> None:
        from suite.store import open_store
        from suite.store.merging import fold, open_source

        url = f"sqlite:///{self.shards.shard(one.cell)}"
        with open_store(url) as shard:
            end_of_dead_jobs(shard, "error" if one.ours else "interrupted", _last_words(one.job))
        with open_source(url) as source:
            fold(source, self.site.store, source_url=url, target_url=self.db)


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
