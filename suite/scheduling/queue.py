"""The cells of a command, for every executor: which comes next, who has it, how it ended and whether it runs again.

Other commands on the same store take cells too. A claim in the store decides who runs a cell.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from suite.scheduling.messages import Loaded, Measured, Noted
from suite.scheduling.recording import record
from suite.scheduling.site import FLUSH_SECONDS, GRACE_SECONDS, Summary
from suite.scheduling.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from suite.cell import Cell
    from suite.scheduling.messages import Message
    from suite.scheduling.site import Site, View
    from suite.scheduling.slots import Slot
    from suite.spec.budget import Scheduling

LOOK_SECONDS = 1.0
"""How often the cells that other commands run are looked at."""


@dataclass(eq=False)
class Attempt:
    """A cell that has left the queue."""

    cell: Cell
    alone: bool  # nothing of this command runs beside it, since it ran out of memory
    contended: bool  # other cells may run beside it on its machine
    watch: Watch
    run: int = 0  # under which the store has it; 0 while it is not claimed
    slot: Slot | None = None  # once it is at work

    def overdue(self, rules: Scheduling) -> str | None:
        """Why it is to be ended; None where it is not."""
        return self.watch.overdue(rules.wall_seconds, rules.silent_seconds)


class SharedQueue:
    """Cells in the order given; those that other commands run come back once they are free.

    Args:
        cells: what is to be measured.
        site: the store, whose runs the attempts are, and the rules.
        view: what watches.
        crowded: whether cells run beside each other on one machine.
        clock: in seconds.

    """

    def __init__(
        self,
        cells: Iterable[Cell],
        site: Site,
        view: View,
        *,
        crowded: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._left = deque(cells)
        self._alone: deque[Cell] = deque()  # to be run once no other is left, with nothing beside
        self._elsewhere: list[Cell] = []  # other commands run them
        self._retried: set[str] = set()  # after they ran out of memory
        self._lost: Counter[str] = Counter()  # how often each cell was
        self._store, self._site, self._view = site.store, site, view
        self._crowded, self._clock = crowded, clock
        self._looked = self._flushed = clock()
        self._deadline = math.inf  # set by the first signal
        self.taken: list[Attempt] = []
        self.summary = Summary()
        self.signals = 0

    def __bool__(self) -> bool:
        """Whether cells may have to be run here: none once a signal has come."""
        return not self.signals and bool(self._left or self._alone or self._elsewhere)

    @property
    def elsewhere(self) -> int:
        """Cells that other commands run."""
        return len(self._elsewhere)

    def interrupt(self) -> None:
        """Give out no more cells; the second time, wait for the store no longer."""
        self._deadline = min(self._deadline, self._clock() + GRACE_SECONDS)
        self.signals += 1
        self.summary.interrupted = True
        self._store.hurried = self.signals > 1

    @property
    def time_is_up(self) -> bool:
        """Whether attempts are to be ended by force: after a second signal, or `GRACE_SECONDS` after the first."""
        return self.signals > 1 or self._clock() > self._deadline

    def next(self) -> Attempt | None:
        """The next cell, not claimed yet; None if none may begin now."""
        alone = not self._left
        if self.signals or not (self._left or self._alone):
            return None
        if self.taken and (alone or self.taken[0].alone):  # a cell that runs alone is the only one taken
            return None
        cell = (self._alone if alone else self._left).popleft()
        attempt = Attempt(cell, alone, self._crowded and not alone, Watch(self._clock))
        self.taken.append(attempt)
        return attempt

    def claim(self, attempt: Attempt, device: str, environment: int | None = None) -> bool:
        """Take the cell of an attempt, unless another command runs it or has ended it: the attempt is over then.

        Args:
            attempt: from `next`.
            device: as the store is to show it.
            environment: the number of the machine's; this command's if not given.

        """
        provenance = self._site.provenance
        claim = self._store.claim(
            attempt.cell,
            experiment=provenance.experiment,
            environment=provenance.environment if environment is None else environment,
            fingerprint=provenance.fingerprint,
            since=provenance.since,
            device=device,
            contended=attempt.contended,
        )
        if claim.run is not None:
            attempt.run = claim.run
            return True
        self.taken.remove(attempt)
        if claim.status == "running":
            self._elsewhere.append(attempt.cell)
        else:
            self.summary.elsewhere[claim.status] += 1
        return False

    def take(self, device: str) -> Attempt | None:
        """The next cell that is free, claimed; None if there is none now."""
        while (attempt := self.next()) is not None:
            if self.claim(attempt, device):
                return attempt
        self._view.elsewhere(self.elsewhere, self.summary.elsewhere.total())
        return None

    def start(self, attempt: Attempt, slot: Slot) -> None:
        """Time and show a cell that is claimed: it is at work from now on."""
        attempt.slot = slot
        attempt.watch.begin()
        self._view.started(attempt.cell, slot)

    def heed(self, attempt: Attempt, message: Message) -> None:
        """Store and show what a cell says while it is at work."""
        attempt.watch.hear()
        if isinstance(message, Noted):
            self._view.noted(attempt.cell, message.text)
        if isinstance(message, Loaded | Measured):
            record(self._store, replace(message, run=attempt.run))
        if isinstance(message, Measured) and attempt.slot is not None:
            self._view.measured(attempt.cell, attempt.slot, message.records)

    def finish(
        self,
        attempt: Attempt,
        status: str,
        error: str | None = None,
        peak_memory: int | None = None,
        *,
        again: bool = False,
    ) -> None:
        """End an attempt and its run; a cell that another command has taken over is waited for.

        Args:
            attempt: from `next`.
            status: of its run.
            error: what went wrong.
            peak_memory: in bytes.
            again: whether the cell comes next once more, so that this end does not count.

        """
        if attempt.run and not self._store.finish(attempt.run, status, error=error, peak_memory=peak_memory):
            status, error = "interrupted", "taken over by another command: this one was silent for too long"
            again = False
            self._elsewhere.append(attempt.cell)
        self.end(attempt, status, error, again=again)

    def end(self, attempt: Attempt, status: str, error: str | None, *, again: bool = False) -> None:
        """End an attempt whose run is recorded already; the arguments are those of `finish`."""
        self.taken.remove(attempt)
        key = attempt.cell.key
        if again:
            (self._alone if attempt.alone else self._left).appendleft(attempt.cell)
        elif status == "oom" and self._site.rules.retry_oom and key not in self._retried:
            self._retried.add(key)
            self._alone.append(attempt.cell)
        elif attempt.slot is not None:
            self.summary.count(status)
        if attempt.slot is not None:
            self._view.finished(attempt.cell, attempt.slot, status, error)

    def lost(self, cell: Cell, most: int) -> tuple[bool, str]:
        """Count that a cell went down with its machine.

        Returns:
            Whether the cell is run again, which it is `most` times, and the same in words.

        """
        self._lost[cell.key] += 1
        times = self._lost[cell.key]
        if times <= most:
            return True, f"run again, {times} of {most} times"
        return False, f"given up after {times} attempts"

    def release(self, attempt: Attempt) -> None:
        """Give back the claim on a cell that is only held for a job; the job goes on."""
        if attempt.run:
            self._store.release(attempt.run)
            attempt.run = 0

    def flush(self) -> list[Attempt]:
        """Once in `FLUSH_SECONDS`: commit what is measured and renew the claims.

        Returns:
            The attempts whose cells other commands have taken over.

        """
        if self._clock() - self._flushed < FLUSH_SECONDS:
            return []
        lost = set(self._store.flush())
        self._flushed = self._clock()
        return [attempt for attempt in self.taken if attempt.run in lost]

    def look(self) -> bool:
        """Once in `LOOK_SECONDS`: free what dead commands have left, and ask again for all that others had."""
        if self.signals or not self._elsewhere or self._clock() - self._looked < LOOK_SECONDS:
            return False
        self._looked = self._clock()
        self._store.sweep()
        self._left.extend(self._elsewhere)
        self._elsewhere.clear()
        return True
