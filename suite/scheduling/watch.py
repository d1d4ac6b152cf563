"""How long a cell is at work and how long it was silent: the one rule, for every executor, of what is overdue."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class Watch:
    """A stopwatch beside a cell."""

    clock: Callable[[], float] = time.monotonic
    begun: float | None = None
    heard: float = 0.0

    def begin(self) -> None:
        """The cell is at work from now on."""
        self.begun = self.heard = self.clock()

    def hear(self) -> None:
        """A message of the cell has come."""
        self.heard = self.clock()

    @property
    def elapsed(self) -> float:
        """Seconds since the cell has begun; 0 before."""
        return 0.0 if self.begun is None else self.clock() - self.begun

    def overdue(self, wall_seconds: float | None, silent_seconds: float = math.inf) -> str | None:
        """Why the cell is to be ended; None where it is not."""
        if self.begun is None:
            return None
        if wall_seconds is not None and self.elapsed > wall_seconds:
            return f"the cell took more than the {wall_seconds:g} seconds of scheduling.wall_seconds"
        if self.clock() - self.heard > silent_seconds:
            return f"the cell sent nothing for the {silent_seconds:g} seconds of scheduling.silent_seconds"
        return None
