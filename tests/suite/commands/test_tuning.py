"""A spec that tunes, run from the command line: trials first, then the winners."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from suite.plan.plan import load_matrix
from suite.store import open_store
from tests.suite.helpers import bench, says, write_spec
from tests.suite.tuned import TUNED

if TYPE_CHECKING:
    from pathlib import Path

# Adam's larger steps end lower after 20 iterations, KFAC's too; every trial has two seeds.
SMALL = TUNED.replace("fisher_every: 30, ", "")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tuned")
    write_spec(folder, SMALL)
    return folder


def test_trials_then_winners_then_nothing_more(folder: Path) -> None:
    planned = bench(folder, "plan", "small.yaml", "--json")
    assert json.loads(planned.stdout)["cells"] == 2 * 4 * 2 + 2 * 2
    first = bench(folder, "run", "small.yaml", "--devices", "cpu:1", "--select", "optimizer=adam")
    assert first.returncode == 0, first.stderr
    assert "Tuning: 8 trials" in first.stdout
    assert "Measuring 2 cells" in first.stdout
    second = bench(folder, "run", "small.yaml", "--devices", "cpu:1", "--json")
    assert second.returncode == 0, second.stderr
    assert json.loads(second.stdout) == {"cells": 20, "measured": 20, "waiting": 0, "ended_now": {"done": 10}}
    third = bench(folder, "run", "small.yaml", "--devices", "cpu:1", "--json")
    assert json.loads(third.stdout)["ended_now"] == {}


def test_the_report_shows_trials_and_the_winner_that_the_store_says(folder: Path) -> None:
    written = bench(folder, "report", "small.yaml")
    assert written.returncode == 0, written.stderr
    page = (folder / "results" / "tuned" / "README.md").read_text()
    assert (folder / "results" / "tuned" / "digits-tuning.png").stat().st_size > 10_000
    assert says(page, "grid", "4 trials", "20 iterations", "seeds 7, 8")
    with open_store(f"sqlite:///{folder}/kfsvd-bench.sqlite", create=False) as store:
        stage = load_matrix(folder / "small.yaml").stage(store)
    for study in stage.studies:
        assert study.winner is not None
        assert study.winner.loss == min(trial.loss for trial in study.trials if trial.loss is not None)
        row = next(line for line in page.splitlines() if line.startswith(f"| {study.optimizer} ") and "lr=" in line)
        assert f"| {study.winner.name} " in row
        assert f"{study.winner.loss:.2f}" in row
    assert len(stage.finals) == 4


def test_final_cells_cannot_run_before_their_trials(tmp_path: Path) -> None:
    write_spec(tmp_path, SMALL)
    found = bench(tmp_path, "run", "small.yaml", "--devices", "cpu:1", "--select", "seed=0")
    assert found.returncode == 4, "nothing was measured"
    assert says(found.stdout, "No setting for adam on digits", "trials")
    counted = bench(tmp_path, "status", "small.yaml", "--json")
    assert json.loads(counted.stdout)["states"] == {"missing": 16, "waiting for tuning": 4}
