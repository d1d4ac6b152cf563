"""`kfsvd-bench plan --cost`: every optimizer's step predicted without its data, and clear words for what is not."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from suite.cost import model
from suite.problems.data import DATASETS, dataset
from suite.records import PHASES
from tests.suite.helpers import SMALL, bench, says, write_spec

if TYPE_CHECKING:
    from pathlib import Path

MORE = SMALL.replace(
    "datasets:\n",
    "  grafted: {method: deflation, lr: 0.1, inverse: low_rank, step_rule: adam_norm}\n"
    "  turned: {method: soap, lr: 0.003}\n"
    "  singd: {method: singd, lr: 0.01}\n"
    "  quadratic: {method: kfac, lr: 1, step_rule: quadratic_model}\n"
    "datasets:\n"
    "  faces:\n"
    "    data: faces\n"
    "    network: {kind: autoencoder, encoder: [40, 10]}\n"
    "    likelihood: gaussian\n"
    "    batch_size: 64\n"
    "  classes:\n"
    "    data: mnist\n"
    "    network: {kind: convnet, channels: [4, 8]}\n"
    "    likelihood: categorical\n"
    "    batch_size: 32\n",
)


def test_phases_are_those_of_the_records() -> None:
    assert model.PHASES == PHASES


def test_every_optimizer_has_a_row_and_the_data_are_not_needed(tmp_path: Path) -> None:
    done = bench(tmp_path, "plan", write_spec(tmp_path, MORE), "--cost", "--devices", "sim:2", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["device"], found["threads"]) == ("cpu", 1)
    rows = {(row["data set"], row["optimizer"]): row for row in found["steps"]}
    assert len(rows) == 3 * 6
    for (name, optimizer), row in rows.items():
        assert row["÷ Adam"] == pytest.approx(row["ms a step"] / rows[name, "adam"]["ms a step"])
        assert row["ms a step"] == pytest.approx(sum(row[phase.replace("_", " + ")] for phase in PHASES))
        assert (row["curvature"] > 0) == (optimizer not in ("sgd", "adam"))
    assert any("low-rank inverses keep 30 directions" in note for note in found["notes"])
    assert sum("no cost is known of step_rule='quadratic_model'" in note for note in found["notes"]) == 3
    assert sum("no cost is known of singd; it is of sgd, adam, kfac" in note for note in found["notes"]) == 3
    assert not (tmp_path / "cache").exists(), "nothing was fetched or made"
    assert not (tmp_path / "kfsvd-bench.sqlite").exists()


def test_the_table_says_what_it_is_of(tmp_path: Path) -> None:
    done = bench(
        tmp_path, "plan", write_spec(tmp_path), "--cost", "--select", "optimizer=sgd|kfac", "--devices", "sim:1"
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"data set +optimizer +ms a step +÷ Adam +forward \+ backward .* largest part", done.stdout)
    assert re.search(r"digits +sgd +[\d.,]+ +— ", done.stdout), "without an Adam nothing is divided by it"
    assert says(done.stdout, "one step", "(cpu, 1 thread)", "refreshes")


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        (SMALL, ["--devices", "gpu"], "--devices gpu: choose auto, cpu:N"),
        (SMALL, ["--select", "optimizer=kfca"], "did you mean 'kfac'"),
        (MORE.replace("[4, 8]", "[4, 8, 8, 8, 8, 8]"), [], "28×28 pixels cannot be halved 6 times"),
    ],
)
def test_bad_input_gives_a_message_and_exit_code_2(
    text: str, arguments: list[str], message: str, tmp_path: Path
) -> None:
    done = bench(tmp_path, "plan", write_spec(tmp_path, text), "--cost", *arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert re.search(message, " ".join(done.stderr.split()))
    assert "Traceback" not in done.stderr + done.stdout


@pytest.mark.parametrize("name", DATASETS)
def test_the_shape_of_an_image_is_in_its_description(name: str) -> None:
    info = dataset(name).INFO
    assert "{}×{}".format(*info.shape) in info.description
