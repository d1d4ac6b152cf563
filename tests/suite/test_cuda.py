"""The suite on a GPU: slots that share it, memory that runs out, cells that repeat; skipped where there is none."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest
import torch

from suite.problems import Folders
from suite.scheduling.messages import Finished, Job, Measured
from suite.scheduling.worker import measuring
from tests.suite.helpers import SMALL, process, write_spec
from tests.suite.stores import matrix_of

if TYPE_CHECKING:
    from pathlib import Path

    from suite.cell import Cell
    from suite.scheduling.messages import Message

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")

GPU = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")


def messages(cell: Cell) -> list[Message]:
    return list(measuring(Job(1, cell, Folders.default()), GPU, lambda: False))


def losses(cell: Cell) -> list[float]:
    told = messages(cell)
    end = told[-1]
    assert isinstance(end, Finished)
    assert end.status == "done", end.error
    return [row.loss for message in told if isinstance(message, Measured) for row in message.records.iterations]


def test_cells_share_a_gpu_and_are_recorded_with_it(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, SMALL + "scheduling: {slots_per_device: 2}\n")
    done = process(tmp_path, "run", spec, "--devices", "cuda:0")
    assert done.returncode == 0, done.stderr
    with sqlite3.connect(tmp_path / "kfsvd-bench.sqlite") as store:
        runs = store.execute("select device, status, peak_memory_bytes from runs").fetchall()
        (gpus,) = store.execute("select gpus from environments").fetchone()
        phases = store.execute(
            "select seconds, forward_backward + curvature + inversion + update_seconds "
            "from iterations where iteration = 1"
        ).fetchall()
    assert {device for device, _, _ in runs} == {"cuda:0/0", "cuda:0/1"}
    assert {status for _, status, _ in runs} == {"done"}
    assert all(0 < peak < 2**30 for _, _, peak in runs)
    assert gpus == torch.cuda.get_device_name(0)
    assert all(total == pytest.approx(parts) for total, parts in phases)


def test_a_cell_repeats_itself_to_the_last_bit(tmp_path: Path) -> None:
    cell = next(c for c in matrix_of(tmp_path).cells if c.optimizer == "kpsvd")
    assert losses(cell) == losses(cell)


def test_a_cell_whose_memory_runs_out_says_so_and_the_next_one_runs(tmp_path: Path) -> None:
    cell = next(c for c in matrix_of(tmp_path).cells if c.optimizer == "kpsvd")
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-9)
    try:
        end = messages(cell)[-1]
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert isinstance(end, Finished)
    assert end.status == "oom"
    assert losses(cell)
