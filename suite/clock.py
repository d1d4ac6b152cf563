"""The training clock: wall and CPU seconds of the optimizer's own work, split by phase.

It runs between `start` and `stop`, one iteration at a time; evaluation, measuring and storing lie outside. Phases
nest: entering one pauses the enclosing one, so that the phases of an iteration add up to its seconds. What no phase
claims is `forward_backward`.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from suite.records import PHASES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch

_INDEX = {name: index for index, name in enumerate(PHASES)}


class Clock:
    """Wall and CPU seconds since the first `start`, stopped times left out."""

    def __init__(self, synchronise: Callable[[], None] = lambda: None) -> None:
        """`synchronise` waits for the device; it is called at every edge of a phase."""
        self.seconds = 0.0
        self.cpu_seconds = 0.0
        self.phases = [0.0] * len(PHASES)
        """Seconds of the last iteration by phase, in the order of `PHASES`."""
        self._synchronise = synchronise
        self._phase = 0
        self._wall = self._cpu = 0.0

    def start(self) -> None:
        """Begin an iteration, in the phase `forward_backward`."""
        self._synchronise()
        self.phases = [0.0] * len(PHASES)
        self._phase = 0
        self._cpu = time.process_time()
        self._wall = time.perf_counter()

    def stop(self) -> None:
        """End the iteration."""
        self._charge()
        self.cpu_seconds += time.process_time() - self._cpu
        self.seconds += sum(self.phases)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Charge what runs inside to the phase of that name."""
        self._charge()
        enclosing, self._phase = self._phase, _INDEX[name]
        try:
            yield
        finally:
            self._charge()
            self._phase = enclosing

    def _charge(self) -> None:
        self._synchronise()
        now = time.perf_counter()
        self.phases[self._phase] += now - self._wall
        self._wall = now


def synchroniser(device: torch.device) -> Callable[[], None]:
    """What waits for the work queued on `device`: nothing on a CPU."""
    import torch

    if device.type == "cpu":
        return lambda: None
    return lambda: torch.accelerator.synchronize(device)
