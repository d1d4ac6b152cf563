"""The main job through the command line: run, resume, report; every number traced to its source."""

from __future__ import annotations

import csv
import json
import re
import sqlite3
from typing import TYPE_CHECKING

import pytest
import torch

from kfsvd import negative_log_likelihood
from suite.plan.plan import load_matrix
from suite.problems import Folders, batches
from suite.problems.problem import load_problem
from tests.suite.helpers import SMALL, bench, process, says, write_spec

if TYPE_CHECKING:
    from pathlib import Path

OF_RUN = "JOIN runs ON runs.id = run_id"


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a process and its workers have run the small spec to its end, once for all tests here."""
    folder = tmp_path_factory.mktemp("measured")
    spec = write_spec(folder)
    done = process(folder, "run", spec, "--devices", "sim:2")
    assert done.returncode == 0, done.stderr
    return folder


def rows(folder: Path, query: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(folder / "kfsvd-bench.sqlite") as connection:
        return connection.execute(query).fetchall()


def test_every_cell_is_measured_once_on_both_slots(measured: Path) -> None:
    runs = rows(measured, "SELECT optimizer, seed, status, device FROM runs ORDER BY optimizer, seed")
    assert [(o, s, st) for o, s, st, _ in runs] == [
        (optimizer, seed, "done") for optimizer in ("adam", "kfac", "kpsvd", "sgd") for seed in (0, 1)
    ]
    assert {device for *_, device in runs} == {"sim:0", "sim:1"}
    assert rows(measured, "SELECT count(*), min(iteration), max(iteration) FROM iterations") == [(8 * 60, 1, 60)]
    evaluated = rows(measured, "SELECT DISTINCT iteration FROM evaluations ORDER BY iteration")
    assert evaluated == [(0,), (20,), (40,), (60,)]


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("seed", [0, 1])
def test_losses_are_those_of_a_plain_torch_loop_to_the_last_bit(measured: Path, optimizer: str, seed: int) -> None:
    torch.set_num_threads(1)
    matrix = load_matrix(measured / "small.yaml", f"optimizer={optimizer},seed={seed}")
    problem = load_problem(matrix.cells[0].problem, Folders.default())
    network = problem.network(seed)
    if optimizer == "sgd":
        reference: torch.optim.Optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    else:
        reference = torch.optim.Adam(network.parameters(), lr=0.003)
    order = batches(len(problem.train), 64, seed)
    losses = []
    for _ in range(60):
        inputs, targets = problem.train.batch(next(order))
        reference.zero_grad()
        loss = negative_log_likelihood("bernoulli", network(inputs), targets).mean()
        loss.backward()
        reference.step()
        losses.append(loss.item())
    stored = rows(
        measured,
        "SELECT loss FROM iterations JOIN runs ON runs.id = run_id "
        f"WHERE optimizer = '{optimizer}' AND seed = {seed} ORDER BY iteration",
    )
    assert [loss for (loss,) in stored] == losses


def test_seeds_are_paired(measured: Path) -> None:
    first = rows(
        measured,
        f"SELECT seed, count(DISTINCT train_loss) FROM evaluations {OF_RUN} WHERE iteration = 0 GROUP BY seed",
    )
    assert first == [(0, 1), (1, 1)], "every optimizer starts from the same weights"
    batch = rows(
        measured,
        f"SELECT seed, count(DISTINCT loss) FROM iterations {OF_RUN} WHERE iteration = 1 GROUP BY seed",
    )
    assert batch == [(0, 1), (1, 1)], "… and sees the same first batch"


def test_phases_add_up_and_the_clock_moves_forward(measured: Path) -> None:
    assert rows(
        measured,
        "SELECT count(*) FROM ("
        "SELECT seconds - lag(seconds, 1, 0) OVER (PARTITION BY run_id ORDER BY iteration) AS each,"
        " forward_backward + curvature + inversion + update_seconds AS phases FROM iterations)"
        " WHERE abs(each - phases) > 1e-9 OR each <= 0",
    ) == [(0,)]
    refreshes = rows(
        measured,
        f"SELECT optimizer, count(*) FROM iterations {OF_RUN} WHERE curvature > 0 GROUP BY optimizer",
    )
    assert refreshes == [("kfac", 12), ("kpsvd", 12)], "every tenth iteration of two seeds"


def test_fisher_errors_are_stored_per_layer_and_respect_the_optimum(measured: Path) -> None:
    assert rows(
        measured,
        "SELECT optimizer, count(*), count(DISTINCT layer), min(iteration), max(iteration) "
        f"FROM fisher_errors {OF_RUN} GROUP BY optimizer",
    ) == [
        ("kfac", 2 * 2 * 4, 4, 30, 60),
        ("kpsvd", 2 * 2 * 4, 4, 30, 60),
    ]
    assert rows(
        measured,
        "SELECT count(*) FROM fisher_errors WHERE in_batch < best_in_batch - 1e-7 OR held_out < best_held_out - 1e-7",
    ) == [(0,)]


def test_ranks_of_inverses_are_stored_and_reported(tmp_path: Path) -> None:
    wide = SMALL.replace("encoder: [16, 4]", "encoder: [300, 4]")  # narrow layers are inverted densely
    write_spec(tmp_path, wide.replace("method: kpsvd,", "method: kpsvd, inverse: low_rank,"))
    done = bench(tmp_path, "run", "small.yaml", "--devices", "sim:1", "--select", "optimizer=kfac|kpsvd,seed=0")
    assert done.returncode == 0, done.stderr
    assert rows(
        tmp_path,
        "SELECT optimizer, iteration, count(DISTINCT layer), min(inputs) >= 0, sum(inputs < width_in) > 0,"
        f" max(bound) <= 5 FROM inverse_ranks {OF_RUN} GROUP BY 1, 2",
    ) == [("kpsvd", i, 4, 1, 1, 1) for i in (20, 40, 60)]
    assert bench(tmp_path, "report", "small.yaml").returncode == 0
    page = (tmp_path / "results" / "small" / "README.md").read_text()
    assert re.search(r"^\| layer +\| +width \| +kpsvd \|$", page, re.MULTILINE)
    assert re.search(r"^\| linear1 +\| +65 / 300 \| +\d+ / \d+ \|$", page, re.MULTILINE)


def test_approximations_are_measured_along_adam_and_reported(tmp_path: Path) -> None:
    asked = "fisher_samples: 32, fisher_approximations: [kfac, lanczos]"
    write_spec(tmp_path, SMALL.replace("fisher_samples: 32", asked))
    done = bench(tmp_path, "run", "small.yaml", "--devices", "sim:1", "--select", "optimizer=adam|kfac,seed=0")
    assert done.returncode == 0, done.stderr
    assert rows(
        tmp_path,
        "SELECT optimizer, approximation, own, rank, count(*), count(DISTINCT layer), count(spectrum) "
        f"FROM fisher_errors {OF_RUN} GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3",
    ) == [
        ("adam", "kfac", 0, 1, 2 * 4, 4, 4),
        ("adam", "lanczos", 0, 2, 2 * 4, 4, 4),
        ("kfac", "kfac", 0, 1, 2 * 4, 4, 4),
        ("kfac", "kfac", 1, 1, 2 * 4, 4, 0),
        ("kfac", "lanczos", 0, 2, 2 * 4, 4, 4),
    ]
    assert bench(tmp_path, "report", "small.yaml").returncode == 0
    page = (tmp_path / "results" / "small" / "README.md").read_text()
    assert re.findall("^### Fisher approximation along (.*)$", page, re.MULTILINE) in (
        ["adam", "kfac"],
        ["kfac", "adam"],
    )


def test_the_report_says_what_the_store_holds(measured: Path) -> None:
    done = bench(measured, "report", "small.yaml", "--format", "md", "--format", "csv", "--format", "json")
    assert done.returncode == 0, done.stderr
    folder = measured / "results" / "small"
    page = (folder / "README.md").read_text()
    assert says(page, "8 of 8 cells measured", "none failed or diverged")
    final = dict(
        rows(
            measured,
            f"SELECT optimizer, avg(train_loss) FROM evaluations {OF_RUN} WHERE iteration = 60 GROUP BY optimizer",
        )
    )
    ranked = re.findall(r"^\|\s*\**(\d)\**\s*\|\s*\**(\w+)\**\s*\|\s*\**([\d.]+) ±", page, re.MULTILINE)
    assert sorted(ranked, key=lambda row: (row[0], final[row[1]])) == ranked, "by rank, then by loss"
    assert ranked[0][:2] == ("1", min(final, key=final.__getitem__))
    assert {name for _, name, _ in ranked} == set(final)
    for _, name, mean in ranked:
        assert float(mean) == pytest.approx(final[name], abs=0.51 * 10 ** -len(mean.partition(".")[2]))
    assert re.search(r"\| +0 of 2 \| +missed \|", page), "a target that nobody reaches is a miss"
    for picture in re.findall(r"\]\(([^)]+\.png)\)", page):
        assert (folder / picture).read_bytes().startswith(b"\x89PNG")
    cells = list(csv.DictReader((folder / "cells.csv").read_text().splitlines()))
    assert {(c["optimizer"], c["seed"]) for c in cells} == {(o, s) for o in final for s in "01"}
    document = json.loads((folder / "report.json").read_text())
    standing = {s["optimizer"]: s for s in document["boards"][0]["standings"]}
    for name, mean in final.items():
        assert standing[name]["train_loss"]["mean"] == pytest.approx(mean, rel=1e-12)


def test_reports_of_the_same_store_are_the_same_bytes(measured: Path) -> None:
    contents = []
    for out in ("one", "two"):
        assert bench(measured, "report", "small.yaml", "--out", out).returncode == 0
        contents.append({p.name: p.read_bytes() for p in (measured / out / "small").iterdir()})
    assert contents[0] == contents[1]


def test_a_second_run_measures_nothing_again(measured: Path) -> None:
    before = rows(measured, "SELECT count(*), max(id) FROM runs")
    done = bench(measured, "run", "small.yaml", "--devices", "sim:2")
    assert done.returncode == 0
    assert "8 of 8 cells are measured already" in done.stdout
    assert rows(measured, "SELECT count(*), max(id) FROM runs") == before


def test_plan_and_status_know_what_is_measured(measured: Path) -> None:
    plan = json.loads(bench(measured, "plan", "small.yaml", "--json").stdout)
    assert (plan["cells"], plan["measured"], plan["seconds_left"]) == (8, 8, 0)
    more = write_spec(measured, SMALL.replace("seeds: [0, 1]", "seeds: [0, 1, 2]"), "more.yaml")
    plan = json.loads(bench(measured, "plan", more, "--json").stdout)
    assert (plan["cells"], plan["measured"], plan["cells_unknown"]) == (12, 8, 0)
    assert plan["seconds_left"] > 0, "by the seeds measured before"
    status = bench(measured, "status", more, "--json")
    assert status.returncode == 0
    assert json.loads(status.stdout)["states"] == {"done": 8, "missing": 4}


def test_results_of_other_sources_do_not_count_unless_asked_for(measured: Path, tmp_path: Path) -> None:
    (tmp_path / "kfsvd-bench.sqlite").write_bytes((measured / "kfsvd-bench.sqlite").read_bytes())
    write_spec(tmp_path)
    with sqlite3.connect(tmp_path / "kfsvd-bench.sqlite") as connection:
        connection.execute("UPDATE runs SET fingerprint = 'another'")
    assert json.loads(bench(tmp_path, "plan", "small.yaml", "--json").stdout)["measured"] == 0
    assert json.loads(bench(tmp_path, "plan", "small.yaml", "--json", "--any-sources").stdout)["measured"] == 8
    assert bench(tmp_path, "report", "small.yaml").returncode == 4
    assert json.loads(bench(tmp_path, "status", "small.yaml", "--json").stdout)["states"] == {"other sources": 8}


def test_a_cell_that_raises_is_recorded_and_the_others_go_on(tmp_path: Path) -> None:
    text = SMALL.replace(
        "batch_size: 64",
        "batch_size: 64\n  hopeless:\n    data: digits\n    network: {kind: convnet, channels: [2, 2, 2, 2]}\n"
        "    likelihood: categorical\n    batch_size: 64",
    )
    write_spec(tmp_path, text)
    done = bench(tmp_path, "run", "small.yaml", "--devices", "sim:1", "--select", "optimizer=sgd,seed=0")
    assert done.returncode == 3
    assert re.search(r"done +\d/2 +sgd × digits × seed 0", done.stdout)
    assert re.search(r"error +\d/2 +sgd × hopeless × seed 0", done.stdout)
    ((error,),) = rows(tmp_path, "SELECT error FROM runs WHERE status = 'error'")
    assert "halved 4 times" in str(error)
    status = bench(tmp_path, "status", "small.yaml", "--select", "optimizer=sgd,seed=0")
    assert status.returncode == 3
    assert "halved 4 times" in status.stdout
    assert bench(tmp_path, "report", "small.yaml").returncode == 0
    page = (tmp_path / "results" / "small" / "README.md").read_text()
    assert "| sgd × hopeless × seed 0" in page


def test_divergence_ends_a_cell_with_its_curve_kept(tmp_path: Path) -> None:
    write_spec(tmp_path, SMALL.replace("lr: 0.01", "lr: 100.0"))
    done = bench(tmp_path, "run", "small.yaml", "--devices", "sim:1", "--select", "optimizer=sgd,seed=0")
    assert done.returncode == 0
    ((status, count),) = rows(
        tmp_path, "SELECT status, (SELECT count(*) FROM iterations WHERE run_id = runs.id) FROM runs"
    )
    assert status == "diverged"
    assert 1 < int(str(count)) < 60
    assert bench(tmp_path, "report", "small.yaml").returncode == 0
    page = (tmp_path / "results" / "small" / "README.md").read_text()
    assert re.search(r"sgd × digits × seed 0 +\| diverged", page)


def test_missing_data_fail_their_cells_alone(tmp_path: Path) -> None:
    text = SMALL.replace(
        "batch_size: 64",
        "batch_size: 64\n  faces:\n    data: faces\n    network: {kind: autoencoder, encoder: [4]}\n"
        "    likelihood: gaussian\n    batch_size: 64",
    )
    write_spec(tmp_path, text)
    done = bench(tmp_path, "run", "small.yaml", "--devices", "sim:1", "--select", "optimizer=sgd,seed=0")
    assert done.returncode == 3
    ((error,),) = rows(tmp_path, "SELECT error FROM runs WHERE status = 'error'")
    assert "olivettifaces.mat" in str(error), "the error names the file to put in place"
    assert "Traceback" not in str(error)
    assert rows(tmp_path, "SELECT count(*) FROM runs WHERE status = 'done'") == [(1,)]
