"""A cell in a process on another machine: what that is told, and what it makes of itself."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from suite.environment import library_fingerprint
from suite.errors import SuiteError
from suite.scheduling.slots import THREAD_VARIABLES

if TYPE_CHECKING:
    import torch

    from suite.cell import Cell
    from suite.environment import Environment
    from suite.problems import Folders


@dataclass(frozen=True)
class Order:
    """Train this cell, so."""

    cell: Cell
    folders: Folders
    fingerprint: str  # of the sources that the result is to stem from
    threads: int
    accelerated: bool  # on what the cluster has given to the process; else on the CPU
    contended: bool  # other cells may run beside it on the machine


@dataclass(frozen=True)
class Placed:
    """From a process on another machine: where it is."""

    environment: Environment
    device: str


def settle(order: Order) -> torch.device:
    """Take the device and threads of an order; called before anything has loaded torch.

    Raises:
        SuiteError: the sources of kfsvd here are others, or there is no accelerator.

    """
    here = library_fingerprint()
    if here != order.fingerprint:
        raise SuiteError(
            f"the sources of kfsvd on this machine ({here}) are not those of the command ({order.fingerprint}): "
            "install the same on both, or run the command again if they were changed since"
        )
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(order.threads)))

    import torch

    torch.set_num_threads(order.threads)
    if not order.accelerated:
        return torch.device("cpu")
    return accelerator()


def accelerator() -> torch.device:
    """The one that the cluster has given to this process.

    Raises:
        SuiteError: torch finds none.

    """
    import torch

    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if found is None:
        raise SuiteError("the cluster has given this cell a GPU, and torch finds none: see its driver and build")
    return found
