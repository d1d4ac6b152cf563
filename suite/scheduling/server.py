"""Processes of a command: forked from a server that has loaded torch once, so that each is ready at once.

The server lives as long as its command. Where the system cannot fork one safely, every process loads torch by itself.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import time
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from suite.errors import SuiteError
from suite.scheduling.slots import THREAD_VARIABLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

Answer = TypeVar("Answer")

_LONGEST_FOLDER = 70
"""Bytes of the folder of temporary files: the server's socket is in it, and its whole path must be below 108 bytes."""

_PAUSES = (0.1, 1.0)
"""Seconds before it is tried again to reach a server that was killed: until it is gone, no other is started."""


def start(target: Callable[..., None], *arguments: Any, name: str, threads: int) -> BaseProcess:
    """Start a process that calls `target(*arguments)` in this command's environment, folder and path of modules.

    Args:
        target: a function at the top of a module of the suite.
        arguments: connections among them are passed on.
        name: of the process.
        threads: for `THREAD_VARIABLES`.

    """
    forks = can_fork()
    context: Any = multiprocessing.get_context("forkserver" if forks else "spawn")
    environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads))}
    process: BaseProcess = context.Process(
        target=_called, args=(environment, target, arguments), daemon=True, name=name
    )
    multiprocessing.set_forkserver_preload(["suite.scheduling.preload"])
    with _environment(_server_environment() if forks else environment), _without_main():
        for pause in _PAUSES:
            try:
                process.start()
            except (OSError, EOFError):
                time.sleep(pause)
            else:
                return process
        process.start()
    return process


def can_fork() -> bool:
    """Whether processes are forked from the server; else each loads torch by itself.

    Libraries of macOS do not survive a fork: Python itself spawns there.
    """
    room = len(os.fsencode(tempfile.gettempdir())) <= _LONGEST_FOLDER
    return room and sys.platform != "darwin" and "forkserver" in multiprocessing.get_all_start_methods()


def answer(question: Callable[[], Answer]) -> Answer:
    """What a function returns in a process of the server, so that this one does without torch.

    Raises:
        SuiteError: the process ended without an answer; it has printed why.

    """
    ours, theirs = multiprocessing.Pipe(duplex=False)
    process = start(_reply, theirs, question, name="kfsvd question", threads=1)
    theirs.close()
    try:
        found: Answer = ours.recv()
    except EOFError:
        process.join()
        raise SuiteError(
            f"a process that was to look at this machine with torch ended with exit code {process.exitcode}: "
            "what it has printed tells why"
        ) from None
    finally:
        ours.close()
    process.join()
    return found


def _reply(connection: Connection, question: Callable[[], object]) -> None:
    connection.send(question())


def _called(environment: Mapping[str, str], target: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """In the new process: it has the server's environment until now."""
    _set_environment(environment)
    target(*arguments)


def _server_environment() -> dict[str, str]:
    """So that the server finds the modules that this command has, and no library starts threads in it."""
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    return {**os.environ, **dict.fromkeys(THREAD_VARIABLES, "1"), "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """These environment variables and no others, for a program started inside."""
    before = dict(os.environ)
    _set_environment(variables)
    try:
        yield
    finally:
        _set_environment(before)


def _set_environment(variables: Mapping[str, str]) -> None:
    for name in os.environ.keys() - variables.keys():
        del os.environ[name]
    os.environ.update(variables)


@contextmanager
def _without_main() -> Iterator[None]:
    """Without the command's own script, which `multiprocessing` would run again in every process."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script
