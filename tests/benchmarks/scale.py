"""How the suite scales: cells planned, cells scheduled, records written, rows reported.

    python -m tests.benchmarks.scale

writes its figures into reports/reliability.md, unless `--print`.
"""

from __future__ import annotations

import datetime as dt
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from suite.environment import current_environment
from suite.plan.plan import load_matrix
from suite.records import Records
from suite.report import write_report
from suite.store import RunRow, open_store
from tests.reliability import SCALE, cores, put
from tests.suite.helpers import SMALL, command, environment, write_spec
from tests.suite.stores import begin, evaluations, finished, iterations, matrix_of

if TYPE_CHECKING:
    from suite.plan.plan import Matrix

ROOT = Path(__file__).parents[2]

# A worker that measures nothing: what is left is what each cell costs beside its own work.
IDLE = """
import suite.scheduling.worker as worker
from suite.records import Evaluation, Iteration, Records
from suite.scheduling.messages import Finished, Loaded, Measured

def measuring(job, device, should_stop):
    about = dict(problem="digits", pixels=64, floor=1.0, test_floor=1.0, parameters=9, reference_seconds=0.01)
    yield Loaded(job.run, **about)
    steps = [Iteration(1, 0.1, 1.0, 0.1, 0.1, 0.1, 0.0, 0.0, 0.0)]
    yield Measured(job.run, Records(steps, [Evaluation(1, 0.1, 0.1, 0.1, 1.0, 1.0)], []))
    yield Finished(job.run, "done", None, 0)

worker.measuring = measuring
"""


class Seconds(NamedTuple):
    """Of the wall clock, and of CPU in this process and those that it has started: that, other work does not change."""

    wall: float
    cpu: float

    def __sub__(self, other: Seconds) -> Seconds:
        return Seconds(self.wall - other.wall, self.cpu - other.cpu)


def now() -> Seconds:
    """So far."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return Seconds(time.perf_counter(), sum(one.ru_utime + one.ru_stime for one in used))


class Figure(NamedTuple):
    """What was measured, by CPU and by the wall clock, and the bound that it is held to."""

    what: str
    cpu: float
    wall: float
    unit: str
    bound: str

    @property
    def row(self) -> str:
        """For the table."""
        numbers = (f"{value:,.0f}" if value >= 1000 else f"{value:.3g}" for value in (self.cpu, self.wall))
        return f"| {self.what} | {' | '.join(f'{number} {self.unit}' for number in numbers)} | {self.bound} |"


def spec_of(optimizers: int, seeds: int) -> str:
    """A matrix of so many cells."""
    rates = ", ".join(f"{0.001 * (1 + i):.4f}" for i in range(optimizers))
    text = SMALL.replace("  sgd: {method: sgd, lr: 0.01}", f"  sgd: {{method: sgd, lr: [{rates}]}}")
    text = text.replace("  adam: {method: adam, lr: 0.003}\n", "").replace("fisher_every: 30, ", "")
    text = "\n".join(line for line in text.splitlines() if not line.startswith(("  kfac:", "  kpsvd:")))
    return text.replace("seeds: [0, 1]", f"seeds: [{', '.join(map(str, range(seeds)))}]") + "\n"


def timed(folder: Path, *arguments: str) -> Seconds:
    """What a command takes, from its start to its end."""
    begun = now()
    subprocess.run(
        command(*arguments),
        cwd=folder,
        env=environment(folder) | {"PYTHONPATH": f"{folder}:{ROOT}"},
        check=True,
        capture_output=True,
    )
    return now() - begun


def planned(folder: Path) -> Figure:
    """10⁵ cells in a new process."""
    write_spec(folder, spec_of(100, 1000), "large.yaml")
    took = timed(folder, "plan", "large.yaml")
    return Figure("100,000 cells planned", took.cpu, took.wall, "s", "under 3 s")


def planned_again(folder: Path) -> Figure:
    """The same, all of them measured: as the store has them after `run`."""
    matrix = load_matrix(folder / "large.yaml")
    assert matrix.fingerprint is not None
    with open_store(f"sqlite:///{folder}/measured.sqlite") as store:
        finished(store, matrix.cells[0], Records([], [], []), fingerprint=matrix.fingerprint)
        table = RunRow.__table__
        columns = [column.name for column in table.columns if column.name not in ("id", "wall_seconds")]
        first = store.session.execute(sa.select(*(table.c[name] for name in columns))).mappings().one()
        about = [
            {"cell_key": cell.key, "group_key": cell.group_key, "optimizer": cell.optimizer, "seed": cell.seed}
            for cell in matrix.cells[1:]
        ]
        rows = [{**first, "definition": matrix.cells[0].definition, "wall_seconds": 1.0, **one} for one in about]
        store.session.execute(sa.insert(table), rows)  # type: ignore[arg-type]
        store.session.commit()
    took = timed(folder, "plan", "large.yaml", "--db", "sqlite:///measured.sqlite")
    return Figure("100,000 cells planned, all measured already", took.cpu, took.wall, "s", "under 3 s")


def scheduled(folder: Path, few: int = 200, many: int = 2200) -> Figure:
    """What a cell more costs, of cells that train nothing: claimed, sent, recorded, ended."""
    (folder / "sitecustomize.py").write_text(IDLE)
    took = []
    for number in (few, many):
        write_spec(folder, spec_of(number // 10, 10), f"idle-{number}.yaml")
        store = f"sqlite:///idle-{number}.sqlite"
        took.append(timed(folder, "run", f"idle-{number}.yaml", "--devices", "sim:1", "--db", store))
    (folder / "sitecustomize.py").unlink()
    more, each = took[1] - took[0], 1000 / (many - few)
    what = "a cell scheduled, stored and ended, beside its training"
    return Figure(what, more.cpu * each, more.wall * each, "ms", "under 20 ms")


def filled(folder: Path, runs: int, rows: int, batch: int) -> tuple[Matrix, str, Figure]:
    """A store with `runs` times `rows` iterations, written as the scheduler does."""
    matrix = matrix_of(folder, spec_of(runs // 8, 8))
    url = f"sqlite:///{folder}/large.sqlite"
    batches = [iterations(batch, start=start) for start in range(1, rows, batch)]
    with open_store(url) as store:
        begun = now()
        for cell in matrix.cells:
            run = begin(store, cell)
            for some in batches:
                store.append(run, Records(some, [], []))
                store.flush()
            store.append(run, Records([], evaluations([30.0 - i / 100 for i in range(500)]), []))
            store.finish(run, "done")
        took = now() - begun
    size = (folder / "large.sqlite").stat().st_size / (runs * rows)
    what = f"{runs * rows:,} records written, {size:.0f} bytes each"
    return (
        matrix,
        url,
        Figure(what, runs * rows / took.cpu, runs * rows / took.wall, "a second", "over 50,000 a second"),
    )


def reported(matrix: Matrix, url: str, folder: Path, rows: int) -> Figure:
    """A report of it, in markdown with its figures."""
    with open_store(url, create=False) as store:
        begun = now()
        write_report(store, matrix.spec, matrix.stage(None), folder, command="c", formats=["md"], fingerprint=None)
        took = now() - begun
    return Figure(f"{rows:,} records reported", took.cpu, took.wall, "s", "under 15 s")


def main() -> None:
    """Measure, and write it down."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        figures = [planned(folder), planned_again(folder), scheduled(folder)]
        matrix, url, written = filled(folder, runs=80, rows=125_000, batch=25_000)
        figures += [written, reported(matrix, url, folder, 80 * 125_000)]
    machine = current_environment()
    text = "\n".join(
        [
            f"Measured on {dt.date.today()} on {cores(machine)} of {machine.cpu}, Python {machine.python}, commit "
            f"{(machine.commit or 'unknown')[:12]}, beside other work that kept {load:.1f} processes busy.",
            "",
            "| what | by CPU | by the wall clock | bound |",
            "| --- | --- | --- | --- |",
            *(figure.row for figure in figures),
        ]
    )
    print(text)
    if sys.argv[1:] != ["--print"]:
        put(text, SCALE)


if __name__ == "__main__":
    main()
