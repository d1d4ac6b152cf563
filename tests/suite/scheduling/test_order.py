"""The order in which cells are run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from suite.commands.run import _longest_first
from suite.store import open_store
from tests.suite.helpers import SMALL
from tests.suite.stores import begin, matrix_of

if TYPE_CHECKING:
    from pathlib import Path


def test_the_longest_come_first_and_before_them_what_is_not_known(tmp_path: Path) -> None:
    cells = matrix_of(tmp_path, SMALL).cells
    with open_store(f"sqlite:///{tmp_path}/store.sqlite") as store:
        assert _longest_first(cells, store) == cells, "as in the spec where nothing is known"
        for cell, seconds in zip(cells[:3], (5.0, 60.0, 20.0), strict=True):  # sgd, adam and kfac of seed 0
            run = begin(store, cell)
            store.finish(run, "done")
            store._update(run, wall_seconds=seconds)
        found = [(cell.optimizer, cell.seed) for cell in _longest_first(cells, store)]
    assert found[:2] == [("kpsvd", 0), ("kpsvd", 1)]
    assert found[2:4] == [("adam", 0), ("adam", 1)]
    assert [optimizer for optimizer, _ in found[4:]] == ["kfac", "kfac", "sgd", "sgd"]
