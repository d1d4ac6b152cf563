"""The gate through its command: what it writes, and its exit code for everything that can come of it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.suite.helpers import bench, command, environment, process, says, write_spec

ROOT = Path(__file__).parents[3]
SPEC = """
version: 1
name: small
optimizers:
  adam: {method: adam, lr: 0.003}
  kfac: {method: kfac, lr: 0.1, damping: 1.0}
datasets:
  digits:
    data: digits
    network: {kind: autoencoder, encoder: [16, 4], activation: tanh}
    likelihood: bernoulli
    batch_size: 64
seeds: [0]
budget: {iterations: 20}
measure: {loss_every: 10, fisher_every: 20, fisher_samples: 16, evaluation_examples: 100}
targets: {digits: [24.0, 1.0]}
"""
TUNING = """
tuning:
  {search: grid, trials: 1, seeds: [9], budget: {iterations: 5}, rule: final_loss,
   spaces: {adam: {lr: [0.1]}, kfac: {lr: [0.1]}}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spec with its baseline, measured once for all tests here."""
    made = tmp_path_factory.mktemp("gate")
    write_spec(made, SPEC)
    done = bench(made, "gate", "small.yaml", "--baseline", "b.json", "--update", "--rounds", "2", "--effect", "1000")
    assert done.returncode == 0, done.stderr
    assert "b.json is written: review it, and commit it." in done.stderr
    return made


def changed(folder: Path, name: str, change: Any) -> Path:
    """The baseline with a change, under another name."""
    data = json.loads((folder / "b.json").read_text())
    change(data)
    (folder / name).write_text(json.dumps(data))
    return folder / name


def gate(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    done = bench(folder, "gate", "small.yaml", *arguments)
    assert "Traceback" not in done.stderr + done.stdout
    return done


def test_the_baseline_has_every_cell_and_ratios_of_the_clock(folder: Path) -> None:
    data = json.loads((folder / "b.json").read_text())
    assert {name: list(seeds) for name, seeds in data["cells"]["digits"].items()} == {"adam": ["0"], "kfac": ["0"]}
    kfac, adam = (data["cells"]["digits"][name]["0"] for name in ("kfac", "adam"))
    assert kfac["iterations"] == [0, 10, 20]
    assert len(kfac["fisher"]) == 4
    assert kfac["operations"] > adam["operations"] > 0
    assert {name: ratio["in"] for name, ratio in data["clock"]["digits"].items()} == {
        "adam": "reference",
        "kfac": "adam",
    }
    assert data["clock"]["digits"]["kfac"]["ratio"] > 1


def test_the_same_sources_pass_and_write_nothing(folder: Path) -> None:
    """With a side in a process, as users have it."""
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    done = process(folder, "gate", "small.yaml", "--baseline", "b.json", "--rounds", "0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "small against b.json: no regression" in done.stdout
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_the_clock_against_stored_ratios(folder: Path) -> None:
    arguments = ["--rounds", "2", "--effect", "1000", "--json", "--select", "optimizer=adam|kfac"]
    data = json.loads(gate(folder, "--baseline", "b.json", *arguments).stdout)
    timed = {
        f["cell"]: f["measure"] for f in data["findings"] if f["channel"] == "clock" and "per iter" in f["measure"]
    }
    assert timed == {
        "adam × digits × seed 0": "time per iteration, in the reference workload",
        "kfac × digits × seed 0": "time per iteration, in Adam's iterations",
    }
    assert any(note.startswith("Noise floor of the clock") for note in data["notes"])


def test_a_regression_fails_and_is_told_in_every_format(folder: Path) -> None:
    def better_before(data: Any) -> None:
        data["cells"]["digits"]["kfac"]["0"]["train_loss"][-1] -= 0.5

    better = changed(folder, "better.json", better_before)
    outputs = ["--markdown", "g.md", "--junit", "g.xml", "--github"]
    done = gate(folder, "--baseline", better, "--rounds", "0", *outputs)
    assert done.returncode == 1
    assert "training loss" in done.stdout
    assert "::error title=Gate%3A worse (deterministic)::kfac × digits × seed 0, training loss" in done.stdout
    assert "**worse**" in (folder / "g.md").read_text()
    root = ElementTree.fromstring((folder / "g.xml").read_text())
    assert "kfac × digits × seed 0: training loss" in {
        case.get("name") for case in root.iter() if case.find("failure") is not None
    }
    allowed = gate(folder, "--baseline", better, "--rounds", "0", "--tolerance", "5")
    assert allowed.returncode == 0
    assert "Losses may differ by 5 %." in allowed.stdout


def test_what_differs_is_named_where_nothing_can_be_compared(folder: Path) -> None:
    def older(data: Any) -> None:
        data["environment"] |= {"torch": "1.0", "threads": 3}

    done = gate(folder, "--baseline", changed(folder, "older.json", older), "--rounds", "0")
    assert done.returncode == 5
    assert "torch: 1.0 in the baseline" in done.stdout
    assert "threads: 3 in the baseline, 1 here" in done.stdout


def test_on_another_class_of_host_losses_have_slack_and_the_clock_is_silent(folder: Path) -> None:
    def elsewhere(data: Any) -> None:
        data["environment"]["host_class"]["cpu"] = "another"
        data["cells"]["digits"]["kfac"]["0"]["train_loss"][-1] *= 0.995

    other = changed(folder, "other.json", elsewhere)
    shadow = gate(folder, "--baseline", other, "--shadow")
    assert shadow.returncode == 0, shadow.stdout
    assert "host class (cpu): another in the baseline" in shadow.stdout
    assert gate(folder, "--baseline", other, "--rounds", "1").returncode == 5


def test_nothing_compared_is_never_green(folder: Path) -> None:
    empty = changed(folder, "empty.json", lambda data: data["cells"].clear())
    done = gate(folder, "--baseline", empty, "--rounds", "0")
    assert done.returncode == 4
    assert "nothing was compared" in done.stdout


def test_a_cell_of_another_definition_is_not_compared(folder: Path) -> None:
    write_spec(folder, SPEC.replace("lr: 0.1", "lr: 0.2"), "changed.yaml")
    done = bench(folder, "gate", "changed.yaml", "--baseline", "b.json", "--rounds", "0")
    assert done.returncode == 5
    assert "defines it otherwise" in done.stdout


def test_a_cell_that_has_left_the_spec_is_named(folder: Path) -> None:
    write_spec(folder, SPEC.replace("  kfac: {method: kfac, lr: 0.1, damping: 1.0}\n", ""), "fewer.yaml")
    done = bench(folder, "gate", "fewer.yaml", "--baseline", "b.json", "--rounds", "0")
    assert done.returncode == 5
    assert re.search("kfac × digits × seed 0 .*in the baseline, but no more in the spec", done.stdout)
    chosen = gate(folder, "--baseline", "b.json", "--rounds", "0", "--select", "optimizer=adam")
    assert chosen.returncode == 0, chosen.stdout


def test_a_baseline_without_times_is_said_to_be_one(folder: Path) -> None:
    timeless = changed(folder, "timeless.json", lambda data: data["clock"].clear())
    done = gate(folder, "--baseline", timeless)
    assert done.returncode == 0, done.stdout
    assert says(done.stdout, "clock was not asked", "no times")


@pytest.mark.parametrize("text", ['{"format": 0}', "{", '{"format": 1}'])
def test_an_update_replaces_a_file_that_cannot_be_read(folder: Path, text: str) -> None:
    (folder / "broken.json").write_text(text)
    assert gate(folder, "--baseline", "broken.json").returncode == 2
    done = gate(folder, "--baseline", "broken.json", "--update", "--rounds", "1", "--effect", "1000")
    assert done.returncode == 0, done.stderr
    assert "it is replaced" in done.stderr
    assert gate(folder, "--baseline", "broken.json", "--rounds", "0").returncode == 0


def test_cells_that_fail_are_named_and_no_baseline_is_written(folder: Path) -> None:
    bad = "  bad: {method: deflation, lr: 0.1, guard: raise, damping: 1e-9}\n"
    failing = SPEC.replace("datasets:\n", bad + "datasets:\n")
    write_spec(folder, failing, "failing.yaml")
    done = bench(folder, "gate", "failing.yaml", "--baseline", "new.json", "--update", "--rounds", "1")
    assert done.returncode == 3, done.stdout
    assert "IndefiniteError" in done.stdout
    assert not (folder / "new.json").exists()


def test_a_store_as_the_baseline(folder: Path) -> None:
    none = gate(folder, "--baseline-db", "sqlite:///s.sqlite", "--rounds", "0")
    assert none.returncode == 2
    assert "there is no store" in none.stderr
    assert bench(folder, "run", "small.yaml", "--db", "sqlite:///s.sqlite", "--devices", "sim:1").returncode == 0
    write_spec(folder, SPEC.replace("lr: 0.1", "lr: 0.3").replace("lr: 0.003", "lr: 0.3"), "others.yaml")
    without = bench(folder, "gate", "others.yaml", "--baseline-db", "sqlite:///s.sqlite", "--rounds", "0")
    assert without.returncode == 4
    assert "holds no result of these cells" in without.stderr
    done = gate(folder, "--baseline-db", "sqlite:///s.sqlite", "--rounds", "0")
    assert done.returncode == 0, done.stdout
    assert "small against the store: no regression" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to hold the sources against"),
        (["--baseline", "absent.json"], "no such file; the same command with --update writes it"),
        (["--baseline", "b.json", "--baseline-db", "sqlite:///s.sqlite"], "exclude each other"),
        (["--against", "HEAD", "--update"], "--update writes the file of --baseline"),
        (["--baseline", "b.json", "--update", "--select", "optimizer=kfac"], "would drop the cells"),
        (["--baseline", "b.json", "--update", "--rounds", "0"], "would drop the times"),
        (["--pytest-benchmark", "x.json"], "needs --baseline FILE.json"),
        (["--self-test", "--rounds", "0"], "asks the clock too"),
    ],
)
def test_bad_usage_is_named(folder: Path, arguments: list[str], message: str) -> None:
    done = gate(folder, *arguments)
    assert done.returncode == 2
    assert message in done.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SPEC.replace("iterations: 20}", "seconds: 1}"), "budget: a gate needs iterations or epochs"),
        (SPEC + TUNING, "tuning: a gate measures settings that are chosen"),
    ],
)
def test_a_spec_that_a_gate_cannot_use_is_named(folder: Path, text: str, message: str) -> None:
    write_spec(folder, text, "unusable.yaml")
    done = bench(folder, "gate", "unusable.yaml", "--baseline", "b.json")
    assert done.returncode == 2, done.stderr
    assert message in done.stderr


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The present sources as the only commit of a repository of their own."""
    made = tmp_path_factory.mktemp("repository")
    for name in ("kfsvd", "suite"):
        shutil.copytree(ROOT / name, made / name, ignore=shutil.ignore_patterns("__pycache__"))
    write_spec(made, SPEC)
    git(made, "init", "--quiet")
    git(made, "add", ".")
    git(made, "-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "--quiet", "-m", "first")
    return made


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def against(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("gate", "small.yaml", "--against", "HEAD", *arguments),
        cwd=repository,
        env=environment(repository) | {"PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_another_revision_is_trained_in_the_same_rounds_and_leaves_no_trace(repository: Path) -> None:
    done = against(repository, "--rounds", "2", "--effect", "1000", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    data = json.loads(done.stdout)
    timed = [finding for finding in data["findings"] if finding["channel"] == "clock"]
    assert {finding["cell"] for finding in timed} == {"adam × digits × seed 0", "kfac × digits × seed 0"}
    assert "seconds per iteration" in {finding["measure"] for finding in timed}
    assert data["against"] == "revision HEAD"
    assert len(git(repository, "worktree", "list").splitlines()) == 1
    assert git(repository, "status", "--porcelain", "kfsvd", "suite") == ""


@pytest.mark.slow
def test_an_unknown_revision_is_named(repository: Path) -> None:
    done = against(repository, "--against", "no-such-revision")
    assert done.returncode == 2
    assert "--against no-such-revision: no such revision" in done.stderr


@pytest.mark.slow
def test_a_change_for_the_worse_of_the_present_sources_is_found(repository: Path) -> None:
    source = repository / "kfsvd" / "optimizers" / "natural_gradient.py"
    text = source.read_text()
    damaged = text.replace(
        'damping = self.param_groups[0]["damping"]\n', 'damping = 100 * self.param_groups[0]["damping"]\n'
    )
    assert damaged != text
    source.write_text(damaged)
    try:
        done = against(repository, "--rounds", "0")
    finally:
        source.write_text(text)
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"kfac × digits × seed 0 +training loss", done.stdout)
    assert "adam × digits" not in done.stdout


def against_damaged(repository: Path, name: str, change: Any) -> subprocess.CompletedProcess[str]:
    """The present sources against a revision of which one file was changed."""
    source = repository / name
    text = source.read_text()
    source.write_text(change(text))
    assert source.read_text() != text
    git(repository, "-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "--quiet", "-am", "damaged")
    source.write_text(text)
    try:
        return against(repository, "--rounds", "0")
    finally:
        git(repository, "reset", "--quiet", "--hard", "HEAD~1")


@pytest.mark.slow
def test_cells_that_fail_in_the_other_revision_are_not_compared(repository: Path) -> None:
    """What fails there alone is no new cell: nothing is known of it."""
    broken = "\n\ndef _fit(*_):\n    raise ValueError('broken there')\n\n\nKFAC.fit = _fit\n"
    done = against_damaged(repository, "kfsvd/approximations/kfac.py", lambda text: text + broken)
    assert done.returncode == 5, done.stdout + done.stderr
    assert re.search("kfac × digits × seed 0 .*the other side fails: ValueError: broken there", done.stdout)


@pytest.mark.slow
def test_a_revision_that_cannot_measure_the_spec_is_not_comparable(repository: Path) -> None:
    later = re.compile(r"^VERSION\b.*$", re.MULTILINE)
    done = against_damaged(repository, "suite/spec/schema.py", lambda text: later.sub("VERSION = 9", text))
    assert done.returncode == 5, done.stdout + done.stderr
    assert "the other revision cannot measure this spec" in done.stdout
