"""Processes of a command, which end with all that they have started."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

_PR_SET_PDEATHSIG = 1  # of Linux's prctl

_WATCHER = 'exec 3<&0; (trap "" HUP INT TERM; read -r end <&3; kill -s KILL 0) </dev/null &'
"""A shell of the worker's group, left alone at once: at the end of its input it kills the group, itself included."""


def lead_a_group() -> None:
    """Make this process the leader of a new group."""
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)


def end_with_parent() -> None:
    """Let the system kill this process when that which has started it dies, where the system can."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def end_group_with(alive: Connection) -> None:
    """Let the group of this process end with the scheduler, whatever becomes of the process before.

    Args:
        alive: the end of a pipe whose other end the scheduler alone has, and never writes to.

    """
    with contextlib.suppress(OSError):
        quiet = subprocess.DEVNULL
        subprocess.run(["/bin/sh", "-c", _WATCHER], stdin=alive.fileno(), stdout=quiet, stderr=quiet, check=False)
    alive.close()


def end_group(process: BaseProcess) -> None:
    """Terminate a worker, then kill it, and in any case whatever of its group has outlived it."""
    for number, patience in ((signal.SIGTERM, 2.0), (signal.SIGKILL, None)):
        if process.is_alive():
            _signal_group(process, number)
            process.join(patience)
    _signal_group(process, signal.SIGKILL)


def _signal_group(process: BaseProcess, number: signal.Signals) -> None:
    """Signal a worker and all that it has started; its group is there as long as the scheduler's end of `alive`."""
    if process.pid is None:
        return
    try:
        os.killpg(process.pid, number)
    except OSError:  # it does not lead a group yet
        if process.is_alive():
            with contextlib.suppress(OSError):
                os.kill(process.pid, number)
