"""What it takes to begin, in CPU seconds of a command and all that it starts, beside those of `import torch`."""

from __future__ import annotations

import ctypes
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from tests.suite.helpers import command, environment, write_spec

ROOT = Path(__file__).parents[2]
ROUNDS = 5

SPEC = """
version: 1
name: start
optimizers:
  kpsvd: {method: kpsvd, lr: 0.1, damping: 0.03, kl_clip: 0.1, refresh_every: 20}
datasets:
  digits: {data: digits, network: {kind: autoencoder, encoder: [32, 16, 8]}, likelihood: bernoulli, batch_size: 128}
seeds: SEEDS
budget: {iterations: 100}
measure: {loss_every: 50}
"""

_PR_SET_CHILD_SUBREAPER = 36  # of Linux's prctl

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="orphans are waited for by Linux's prctl")


def cpu_seconds(folder: Path, arguments: list[str]) -> float:
    """Of a process and all of its descendants, those included that outlive it."""
    child = os.fork()
    if not child:
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
        variables = environment(folder) | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        quiet = subprocess.DEVNULL
        code = subprocess.run(arguments, cwd=folder, env=variables, stdout=quiet, check=False).returncode
        while True:
            try:
                os.wait()
            except ChildProcessError:
                os._exit(code)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def cpu_of_an_import(folder: Path, program: str) -> float:
    return cpu_seconds(folder, [sys.executable, "-c", program])


def cpu_of_a_run(folder: Path, seeds: list[int], devices: str) -> float:
    write_spec(folder, SPEC.replace("SEEDS", str(seeds)))
    (folder / "start.sqlite").unlink(missing_ok=True)
    return cpu_seconds(folder, command("run", "small.yaml", "--devices", devices, "--db", "sqlite:///start.sqlite"))


def test_the_library_is_imported_in_the_time_of_torch(tmp_path: Path) -> None:
    rounds = [
        (cpu_of_an_import(tmp_path, "from kfsvd import KFAC"), cpu_of_an_import(tmp_path, "import torch"))
        for _ in range(ROUNDS)
    ]
    found = statistics.median(kfsvd / torch for kfsvd, torch in rounds)
    print(f"\nimport kfsvd ÷ import torch: {found:.2f}")
    assert found < 1.15


def test_a_run_of_one_short_cell_and_what_another_adds(tmp_path: Path) -> None:
    rounds = [
        (
            cpu_of_an_import(tmp_path, "import torch"),
            cpu_of_a_run(tmp_path, [0], "sim:1"),
            cpu_of_a_run(tmp_path, [0, 1], "sim:1"),
            cpu_of_a_run(tmp_path, [0, 1], "sim:2"),
        )
        for _ in range(ROUNDS)
    ]
    one = statistics.median(one / torch for torch, one, _, _ in rounds)
    after = statistics.median((two - one) / torch for torch, one, two, _ in rounds)
    beside = statistics.median((two - one) / torch for torch, one, _, two in rounds)
    print(f"\na run of one cell ÷ import torch: {one:.2f}; another cell after it {after:.2f}, beside it {beside:.2f}")
    assert one < 2.5
    assert after < 0.25
    assert beside < 0.25
