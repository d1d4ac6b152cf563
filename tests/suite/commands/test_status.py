"""What `status` says of a cell with several attempts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from suite.environment import library_fingerprint
from suite.errors import ExitCode
from suite.records import Records
from suite.store import open_store
from tests.suite.helpers import bench
from tests.suite.stores import begin, evaluations, finished, iterations, matrix_of

if TYPE_CHECKING:
    from pathlib import Path

RECORDS = Records(iterations(3), evaluations([40.0]), [])


def test_a_result_counts_whatever_became_of_other_attempts(tmp_path: Path) -> None:
    """Done and then failed, diverged, done with other sources, failed, and four that were not run."""
    done, diverged, older, failed = matrix_of(tmp_path).cells[:4]
    here, url = library_fingerprint(), f"sqlite:///{tmp_path}/store.sqlite"
    with open_store(url) as store:
        finished(store, done, RECORDS, fingerprint=here)
        store.finish(begin(store, done, here), "error", error="later")
        finished(store, diverged, RECORDS, "diverged", fingerprint=here)
        finished(store, older, RECORDS, fingerprint="other sources")
        store.finish(begin(store, failed, here), "oom", error="no memory")
    seen = bench(tmp_path, "status", "small.yaml", "--db", url, "--json")
    states = {"done": 1, "diverged": 1, "other sources": 1, "oom": 1, "missing": 4}
    found = json.loads(seen.stdout)
    assert (found["states"], found["errors"]) == (states, {failed.name: "no memory"})
    assert seen.returncode == ExitCode.CELLS_FAILED
