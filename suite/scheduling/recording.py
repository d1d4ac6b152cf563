"""What a worker says, written into a store: the same for every executor."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from suite.scheduling.messages import Finished, Loaded, Measured

if TYPE_CHECKING:
    from suite.scheduling.messages import Message
    from suite.store import Store


def record(store: Store, message: Message) -> None:
    """Write a message; notes are for the screen alone."""
    match message:
        case Loaded():
            store.describe(**asdict(message))
        case Measured():
            store.append(message.run, message.records)
        case Finished():
            store.finish(message.run, message.status, error=message.error, peak_memory=message.peak_memory)
