"""CPU seconds of quick verbs, in those of the packages that they cannot do without.

pytest tests/benchmarks/test_command_line.py -s
"""

from __future__ import annotations

import resource
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.suite.helpers import command, environment, write_spec
from tests.suite.specs import changed

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS = 5


def cpu_seconds(arguments: list[str], folder: Path) -> float:
    """Of a process, with all that it imports."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(arguments, cwd=folder, env=environment(folder), check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def ratio(arguments: list[str], packages: str, folder: Path) -> float:
    """The least of some rounds of each, taken in turn."""
    bare = [sys.executable, "-c", f"import {packages}"]
    pairs = [(cpu_seconds(arguments, folder), cpu_seconds(bare, folder)) for _ in range(ROUNDS)]
    own, needed = map(min, zip(*pairs, strict=True))
    print(f"\n{' '.join(arguments[2:])}: {own:.2f} s, {own / needed:.2f} times the import of {packages}")
    return own / needed


def test_help_and_plan_take_little_more_than_their_packages(tmp_path: Path) -> None:
    assert ratio(command("--help"), "typer, rich.console, rich.markdown", tmp_path) < 1.5
    plan = command("plan", write_spec(tmp_path))
    assert ratio(plan, "typer, rich.console, pydantic, yaml, sqlalchemy.orm", tmp_path) < 2


def test_ten_thousand_cells_are_planned_in_the_time_of_a_hundred_thousand_hashes(tmp_path: Path) -> None:
    """A cell's key is the SHA-256 of its definition as JSON."""
    lr = [round(0.001 * n, 3) for n in range(1, 101)]
    write_spec(tmp_path, changed("kpsvd, lr: 0.1", f"kpsvd, lr: {lr}, damping: {lr[:50]}"), "spec.yaml")
    definition = {f"option{n}": {"value": n} for n in range(30)}
    keys = "from suite.plan.cells import cells; from suite.spec.reading import load_spec; from pathlib import Path; "
    hashes = "import hashlib, json; from suite.plan import cells; from suite.spec import reading; "
    planned = [sys.executable, "-c", keys + "[cell.key for cell in cells(load_spec(Path('spec.yaml')))]"]
    hashed = f"[hashlib.sha256(json.dumps({definition}).encode()) for _ in range(100000)]"
    pairs = [
        (cpu_seconds(planned, tmp_path), cpu_seconds([sys.executable, "-c", hashes + hashed], tmp_path))
        for _ in range(ROUNDS)
    ]
    own, bar = map(min, zip(*pairs, strict=True))
    print(f"\n10,002 cells: {own:.2f} s, {own / bar:.2f} times 100,000 hashes")
    assert own < bar
