"""What a cell's process needs, loaded once: the server that they are forked from imports this, and nothing else does.

The server is to leave no threads and no CUDA context to its forks: it imports, and runs nothing.
"""

from __future__ import annotations

import contextlib
import gc
import signal
import sys
from importlib import import_module

from suite.scheduling.processes import end_with_parent, lead_a_group

MODULES = (
    "torch._dynamo",  # which torch's optimizers load when one is made
    "scipy.linalg",
    "threadpoolctl",
    "kfsvd.optimizers.observer",
    "suite.cell",
    "suite.environment",
    "suite.scheduling.memory",
    "suite.scheduling.reference",
    "suite.scheduling.worker",
    "suite.spec.schema",
    "suite.training.loop",
)
"""Also those that are imported at their first use."""

signal.signal(signal.SIGINT, signal.SIG_IGN)
lead_a_group()  # what a terminal sends to the command is the command's alone
end_with_parent()

gc.disable()  # nothing of all that is loaded here is ever let go
for module in MODULES:
    with contextlib.suppress(Exception):  # it fails in the process that needs it, which reports it
        import_module(module)
gc.freeze()  # the collector of a fork leaves these pages shared
gc.enable()
sys.stdout.flush()
sys.stderr.flush()
