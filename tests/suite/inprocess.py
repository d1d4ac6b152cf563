"""Cells trained within the test's process: for tests that are about what is measured, and not about processes."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Self

import torch

from suite.gate.sides import CellError
from suite.gate.worker import Session, environment
from suite.scheduling.messages import Finished, Job, Measured, Noted
from suite.scheduling.recording import record
from suite.scheduling.sharing import SharedQueue
from suite.scheduling.site import Summary
from suite.scheduling.worker import measuring

if TYPE_CHECKING:
    from collections.abc import Sequence

    from suite.cell import Cell
    from suite.gate.sides import Setting, Sources
    from suite.scheduling.site import Site, View


def run_cells(cells: Sequence[Cell], site: Site, view: View) -> Summary:
    """An executor: one cell after the other, in the first slot."""
    queue, summary, slot = SharedQueue(cells, site.store, site.provenance), Summary(), site.slots[0]
    while taken := queue.take(slot.name, crowded=False, quiet=True):
        cell, run = taken
        view.started(cell, slot)
        for message in measuring(Job(run, cell, site.folders), torch.device(slot.device), lambda: False):
            record(site.store, message)
            match message:
                case Measured():
                    view.measured(cell, slot, message.records)
                case Noted():
                    view.noted(cell, message.text)
                case Finished():
                    summary.count(message.status)
                    view.finished(cell, slot, message.status, message.error)
    site.store.flush()
    return summary


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
