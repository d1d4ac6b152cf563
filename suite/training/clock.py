"""The training clock: wall and CPU seconds of the optimizer's own work, split by phase.

An iteration has three edges: its begin, the end of its backward pass, and its end; evaluation, measuring and storing
lie outside. Inside the step, an optimizer may claim time for `curvature` and `inversion`; the rest is `update`. The
four phases add up to the iteration's seconds.

CPU time is asked of the operating system, which costs as much as a layer of a small network; so it is read every 20 ms
of training at most, and around whatever is `excluded`. Between readings it stands at the last one.
"""

from __future__ import annotations

from contextlib import contextmanager
from time import perf_counter, process_time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch

CPU_RESOLUTION = 0.02
"""Wall seconds between readings of the CPU time."""


class Clock:
    """Wall and CPU seconds of training since it was made.

    Args:
        edge: the time now, in seconds, once the device has done what is queued; see `edges`.

    """

    def __init__(self, edge: Callable[[], float] = perf_counter) -> None:
        self.edge = edge
        self.seconds = 0.0
        self.cpu_seconds = 0.0
        self._claimed = {"curvature": 0.0, "inversion": 0.0, "update": 0.0}
        self._cpu = process_time()
        self._cpu_due = perf_counter() + CPU_RESOLUTION

    def charge(self, begun: float, propagated: float, ended: float) -> tuple[float, float, float, float, float, float]:
        """Count an iteration by its three edges.

        Returns:
            Seconds and CPU seconds so far; then the iteration's own seconds by phase, in the order of `PHASES`.

        """
        claimed = self._claimed
        curvature, inversion = claimed["curvature"], claimed["inversion"]
        claimed["curvature"] = claimed["inversion"] = 0.0
        self.seconds += ended - begun
        if ended > self._cpu_due:
            self._read_cpu()
        update = ended - propagated - curvature - inversion
        return self.seconds, self.cpu_seconds, propagated - begun, curvature, inversion, update

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Claim what runs inside, within an optimizer's step, for the phase of that name; not to be nested."""
        begun = self.edge()
        try:
            yield
        finally:
            self._claimed[name] += self.edge() - begun

    @contextmanager
    def excluded(self) -> Iterator[None]:
        """Keep the CPU time of what runs inside, between two iterations, off the clock."""
        self._read_cpu()
        try:
            yield
        finally:
            self._cpu = process_time()

    def _read_cpu(self) -> None:
        now = process_time()
        self.cpu_seconds += now - self._cpu
        self._cpu = now
        self._cpu_due = perf_counter() + CPU_RESOLUTION


def edges(device: torch.device) -> Callable[[], float]:
    """The edges of work on `device`: on a CPU the time now, elsewhere once all that is queued is done."""
    import torch

    if device.type == "cpu":
        return perf_counter

    def edge() -> float:
        torch.accelerator.synchronize(device)
        return perf_counter()

    return edge
