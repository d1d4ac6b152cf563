"""What a million iterations cost: rows written a second, bytes in the file, seconds of a report."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from suite.records import Records
from suite.report import write_report
from suite.store import open_store
from tests.suite.helpers import SMALL
from tests.suite.stores import begin, evaluations, iterations, matrix_of

if TYPE_CHECKING:
    from pathlib import Path

RUNS, ROWS, BATCH = 8, 125_000, 2_500


def test_a_million_iterations(tmp_path: Path) -> None:
    matrix = matrix_of(tmp_path, SMALL)
    batches = [iterations(BATCH, start=start) for start in range(1, ROWS, BATCH)]
    with open_store(f"sqlite:///{tmp_path}/store.sqlite") as store:
        begun = time.perf_counter()
        for cell in matrix.cells:
            run = begin(store, cell)
            for batch in batches:
                store.append(run, Records(batch, [], []))
                store.flush()
            store.append(run, Records([], evaluations([30.0 - i / 100 for i in range(500)]), []))
            store.finish(run, "done")
        written = time.perf_counter() - begun
    size = (tmp_path / "store.sqlite").stat().st_size
    with open_store(f"sqlite:///{tmp_path}/store.sqlite", create=False) as store:
        begun = time.perf_counter()
        write_report(
            store,
            matrix.spec,
            matrix.stage(None),
            tmp_path,
            command="c",
            formats=["md", "html", "csv", "json"],
            fingerprint=None,
        )
        reported = time.perf_counter() - begun
    rows = RUNS * ROWS
    print(f"\n{rows / written:,.0f} rows/s, {size / 1e6:.0f} MB, report {reported:.2f} s")
    assert len(matrix.cells) == RUNS
    assert size < 120e6
    assert reported < 3
