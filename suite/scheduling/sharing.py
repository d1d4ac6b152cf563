"""The cells that are left, taken one at a time while other commands on the same store take theirs."""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from suite.cell import Cell
    from suite.store import Store

LOOK_SECONDS = 1.0
"""How often the cells that other commands run are looked at."""


@dataclass(frozen=True)
class Provenance:
    """What every run of one command shares."""

    experiment: int
    environment: int
    fingerprint: str
    since: int  # the latest run when the command began


class SharedQueue:
    """Cells in the order given; those that others run come back once they are free."""

    def __init__(self, cells: Iterable[Cell], store: Store, provenance: Provenance) -> None:
        self._left = deque(cells)
        self._alone: deque[Cell] = deque()
        self._elsewhere: list[Cell] = []
        self._looked = time.monotonic()
        self._store, self._provenance = store, provenance
        self.ended: Counter[str] = Counter()  # cells that other commands have ended, by status

    def __len__(self) -> int:
        """Cells that may have to be run here."""
        return len(self._left) + len(self._alone) + self.elsewhere

    @property
    def elsewhere(self) -> int:
        """Cells that other commands run."""
        return len(self._elsewhere)

    def take(self, device: str, *, crowded: bool, quiet: bool) -> tuple[Cell, int] | None:
        """The next cell that is free, and the run that it is taken under; none if there is none now.

        Args:
            device: the slot's name.
            crowded: whether other cells run beside it on this machine.
            quiet: whether none does at the moment, so that it may be one that is to run alone.

        """
        while self._left or (quiet and self._alone):
            alone = not self._left
            cell = self._alone.popleft() if alone else self._left.popleft()
            claim = self._store.claim(
                cell,
                experiment=self._provenance.experiment,
                environment=self._provenance.environment,
                fingerprint=self._provenance.fingerprint,
                since=self._provenance.since,
                device=device,
                contended=crowded and not alone,
            )
            if claim.run is not None:
                return cell, claim.run
            if claim.status == "running":
                self._elsewhere.append(cell)
            else:
                self.ended[claim.status] += 1
        return None

    def retry_alone(self, cell: Cell) -> None:
        """Run a cell again, after all others and with nothing beside it."""
        self._alone.append(cell)

    def lose(self, cell: Cell) -> None:
        """Another command has taken over a cell that was taken here."""
        self._elsewhere.append(cell)

    def look(self) -> bool:
        """Once in `LOOK_SECONDS`: free what dead commands have left, and ask again for all that others had."""
        if not self._elsewhere or time.monotonic() - self._looked < LOOK_SECONDS:
            return False
        self._looked = time.monotonic()
        self._store.sweep()
        self._left.extend(self._elsewhere)
        self._elsewhere.clear()
        return True
