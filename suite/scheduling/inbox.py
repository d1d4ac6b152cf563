"""What a worker sends, taken as it comes: no bytes on its pipe, and none that fail to come, hold the scheduler up."""

from __future__ import annotations

import os
import pickle
import struct
from typing import TYPE_CHECKING

from suite.scheduling.messages import Message

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

MOST_BYTES = 2**28
"""Of one message; what announces more is none."""

_AT_ONCE = 2**18  # more than a socket holds
_HEAD = struct.Struct("!i")  # the length before every message of a `Connection`


class GarbageError(Exception):
    """What has come is no message."""


class Inbox:
    """The messages of one worker."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._come = bytearray()

    def read(self) -> None:
        """Take what has come to a pipe that `multiprocessing.connection.wait` calls ready.

        Raises:
            EOFError: the worker has closed its end.
            OSError: it has gone.

        """
        data = os.read(self._pipe.fileno(), _AT_ONCE)
        if not data:
            raise EOFError
        self._come += data

    def messages(self) -> Iterator[Message]:
        """Those that are complete, taken out.

        Raises:
            GarbageError: what comes next is none.

        """
        while (frame := self._frame()) is not None:
            yield _message(frame)

    def _frame(self) -> bytes | None:
        """The first, where it is complete."""
        if len(self._come) < _HEAD.size:
            return None
        (size,) = _HEAD.unpack_from(self._come)
        if not 0 < size <= MOST_BYTES:
            raise GarbageError(f"a message of {size} bytes")
        end = _HEAD.size + size
        if len(self._come) < end:
            return None
        frame = bytes(self._come[_HEAD.size : end])
        del self._come[:end]
        return frame


def _message(frame: bytes) -> Message:
    try:
        message = pickle.loads(frame)
    except Exception as problem:  # whatever unpickling makes of garbage
        raise GarbageError(repr(problem)) from problem
    if not isinstance(message, Message):
        raise GarbageError(f"a {type(message).__name__}")
    return message
