"""Cells trained within the test's process: for tests that are about what is measured, and not about processes."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Self

import torch

from suite.gate.sides import CellError
from suite.gate.worker import Session, environment
from suite.scheduling.messages import Finished, Job
from suite.scheduling.queue import SharedQueue
from suite.scheduling.worker import measuring

if TYPE_CHECKING:
    from collections.abc import Sequence

    from suite.cell import Cell
    from suite.gate.sides import Setting, Sources
    from suite.scheduling.site import Site, Summary, View


def run_cells(cells: Sequence[Cell], site: Site, view: View) -> Summary:
    """An executor: one cell after the other, in the first slot."""
    queue, slot = SharedQueue(cells, site, view, crowded=False), site.slots[0]
    while attempt := queue.take(slot.name):
        queue.start(attempt, slot)
        for message in measuring(
            Job(attempt.run, attempt.cell, site.folders), torch.device(slot.device), lambda: False
        ):
            queue.heed(attempt, message)
            if isinstance(message, Finished):
                queue.finish(attempt, message.status, message.error, message.peak_memory)
    site.store.flush()
    return queue.summary


_environment = cache(environment)


class Side:
    """A side of a gate, of the present sources."""

    def __init__(self, sources: Sources, setting: Setting) -> None:
        self._session = Session(setting.spec, setting.data_dir, sources.inject)
        self.environment = _environment()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is to be ended."""

    def ask(self, what: str, cell: Cell) -> dict[str, Any]:
        """The reply to a request of `Session`."""
        reply = self._session.reply({"what": what, "cell": [cell.optimizer, cell.dataset, cell.seed]})
        if "error" in reply:
            raise CellError(reply["error"])
        return reply
