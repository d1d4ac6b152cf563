"""The measuring program of the gate: trains cells on request, with the sources that PYTHONPATH names.

    python -P suite/gate/worker.py SPEC THREADS [--data-dir DIR] [--inject NAME]

Requests come as lines of JSON on standard input, replies leave on standard output, one for each request. The program
is run by its path, so that one and the same loop drives the present sources and those of another revision; of `suite`
it uses only what that revision needs to train at all. It keeps nothing: a gate compares what it measures now, so it
needs neither the store nor its migrations.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
import warnings
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.problems.problem import load_problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from suite.cell import Cell
    from suite.records import Records
    from suite.training.loop import Training


class Session:
    """The cells of a spec, each problem loaded once.

    Args:
        spec: the spec file.
        data_dir: the user's folder with data sets, or None.
        inject: the name of a regression to make on purpose (`suite.gate.injections`), or None.

    """

    def __init__(self, spec: Path, data_dir: Path | None, inject: str | None) -> None:
        from suite.plan.cells import cells
        from suite.problems import Folders
        from suite.spec.reading import load_spec

        self.cells = {(cell.optimizer, cell.dataset, cell.seed): cell for cell in cells(load_spec(spec))}
        self.folders, self.inject = Folders.default(data_dir), inject
        self.problems: dict[str, Any] = {}

    def reply(self, request: dict[str, Any]) -> dict[str, Any]:
        """What a request asks for; an error of the cell as its text."""
        try:
            what = {"outcome": self.outcome, "work": self.work, "clock": self.clock}[request["what"]]
            return what(self.cells[tuple(request["cell"])])
        except Exception as error:
            return {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}

    def outcome(self, cell: Cell) -> dict[str, Any]:
        """What does not depend on the clock: evaluated losses, and the Fisher errors of the optimizer's own F̂."""
        training = self._training(cell, cell.measure.model_copy(update={"fisher_approximations": ()}))
        parts = list(training)
        return {
            "status": training.outcome,
            "iterations": [e.iteration for part in parts for e in part.evaluations],
            "train_loss": [e.train_loss for part in parts for e in part.evaluations],
            "test_loss": [e.test_loss for part in parts for e in part.evaluations],
            "fisher": _last_fisher_errors(parts),
        }

    def work(self, cell: Cell) -> dict[str, Any]:
        """The floating-point operations of the same training, counted as they are called."""
        from torch.utils.flop_counter import FlopCounterMode

        with FlopCounterMode(display=False, custom_mapping=_factorizations()) as counter:
            for _ in self._training(cell, _nothing(cell)):
                pass
        return {"operations": counter.get_total_flops()}

    def clock(self, cell: Cell) -> dict[str, Any]:
        """Seconds of each iteration of the same training, and of the reference workload before it."""
        import torch

        from suite.scheduling.reference import reference_seconds

        reference = reference_seconds(torch.device("cpu"))
        training = self._training(cell, _nothing(cell))
        clocks = [0.0, *(row.seconds for part in training for row in part.iterations)]
        return {"reference": reference, "seconds": [b - a for a, b in pairwise(clocks)]}

    def _training(self, cell: Cell, measure: Any) -> Training:
        import torch

        from suite.training.loop import Training

        if cell.dataset not in self.problems:
            self.problems[cell.dataset] = load_problem(cell.problem, self.folders)
        budget = cell.budget.model_copy(update={"seconds": None})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            training = Training(
                cell.changed(budget=budget, measure=measure), self.problems[cell.dataset], torch.device("cpu")
            )
        if self.inject is not None:
            from suite.gate.injections import INJECTIONS

            INJECTIONS[self.inject].apply(training.optimizer)
        return training


def _nothing(cell: Cell) -> Any:
    """To measure nothing but the steps: evaluations at the two ends cannot be had without."""
    never = {"loss_every": 10**9, "evaluation_examples": 1, "fisher_every": None, "fisher_approximations": ()}
    return cell.measure.model_copy(update=never)


def _last_fisher_errors(parts: list[Records]) -> dict[str, float]:
    """Held-out error of the optimizer's own F̂ by layer, as last measured."""
    return {row.layer: row.held_out for part in parts for row in part.fisher_errors if row.own}


def _factorizations() -> dict[Any, Any]:
    """Operations of what torch's counter leaves out: n³ for an eigendecomposition, and so on."""
    import torch

    aten = torch.ops.aten

    def cubic(share: float) -> Any:
        def count(shape: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
            *batch, rows, columns = shape
            times = 1
            for size in batch:
                times *= size
            return int(times * share * rows * columns * min(rows, columns))

        return count

    return {
        aten.linalg_cholesky_ex: cubic(1 / 3),
        aten.cholesky_inverse: cubic(2 / 3),
        aten._linalg_eigh: cubic(1.0),
        aten.linalg_qr: cubic(4.0),
        aten._linalg_svd: cubic(4.0),
    }


def environment() -> dict[str, Any]:
    """What a comparison has to agree in, and the class of host: what rounding and speed depend on beside."""
    import torch

    from suite.environment import current_environment

    known = current_environment()
    version, _, build = known.torch.partition("+")
    host_class = {
        "cpu": known.cpu,
        "cpu_model": _cpu_model(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "blas": known.blas,
        "torch_build": build,
        "system": " ".join(known.system.split()[::2]),  # without the kernel's release
    }
    return {"torch": version, "threads": torch.get_num_threads(), "host_class": host_class}


def _cpu_model() -> str:
    """Family, model and stepping, where Linux tells them: the name in a virtual machine may be of many kinds."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return "-".join(fields.get(name, "") for name in ("cpu family", "model", "stepping")).strip("-")


def _requests() -> Iterator[dict[str, Any]]:
    for line in sys.stdin:
        yield json.loads(line)


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spec", type=Path)
    parser.add_argument("threads", type=int)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--inject")
    arguments = parser.parse_args()
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever prints must not get between the replies
    try:
        import torch

        torch.set_num_threads(arguments.threads)
        session = Session(arguments.spec, arguments.data_dir, arguments.inject)
        ready: dict[str, Any] = environment()
    except Exception as error:
        ready = {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
    print(json.dumps(ready), file=replies, flush=True)
    if "error" in ready:
        return
    for request in _requests():
        print(json.dumps(session.reply(request)), file=replies, flush=True)


if __name__ == "__main__":
    main()
