"""The command line: its help, its speed, and one clear message and exit code for every kind of bad input."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from suite.methods import METHODS
from tests.suite.helpers import SMALL, bench, write_spec

VERBS = [
    "run",
    "plan",
    "report",
    "export",
    "status",
    "logs",
    "gate",
    "merge",
    "optimizers",
    "environment",
    "datasets list",
    "datasets fetch",
    "datasets verify",
]


def test_every_verb_documents_itself_with_an_example(tmp_path: Path) -> None:
    overview = bench(tmp_path, "--help").stdout
    for verb in VERBS:
        assert verb.split()[0] in overview
        text = bench(tmp_path, *verb.split(), "--help").stdout
        assert f"Example: kfsvd-bench {verb}" in text


def test_every_verb_is_in_the_readme() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    for verb in VERBS:
        assert f"kfsvd-bench {verb}" in readme or f"`{verb.split()[0]} " in readme, verb


@pytest.mark.parametrize("arguments", [["--help"], ["plan", "small.yaml"], ["status", "small.yaml"], ["optimizers"]])
def test_quick_verbs_do_not_import_torch(arguments: list[str], tmp_path: Path) -> None:
    write_spec(tmp_path)
    script = (
        "import sys\n"
        f"sys.argv = ['kfsvd-bench', *{arguments!r}]\n"
        "from suite.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'sklearn', 'scipy', 'matplotlib', 'alembic'} & set(sys.modules)\n"
        "print(sorted(heavy))\n"
    )
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nowhere.yaml"], r"nowhere.yaml.*no such file"),
        (["run", "small.yaml", "--select", "optimiser=sgd"], "unknown key 'optimiser'; did you mean 'optimizer'"),
        (["run", "small.yaml", "--select", "optimizer=kfca"], "did you mean 'kfac'"),
        (["run", "small.yaml", "--devices", "gpu"], "--devices gpu: choose auto, cpu:N"),
        (["run", "small.yaml", "--devices", "cuda:99"], "no cuda:99 here"),
        (["run", "small.yaml", "--db", "nonsense"], "--db nonsense: not a database URL"),
        (["run", "small.yaml", "--db", "oracle+nothing://x"], "not a database URL that can be used here"),
        (["run", "small.yaml", "--db", "sqlite:///no/such/folder/x.sqlite"], "folder no/such/folder.*does not exist"),
        (["run", "small.yaml", "--db", "sqlite:///text.sqlite"], "no SQLite database: choose another --db"),
        (["run", "small.yaml", "--db", "sqlite:///other.sqlite"], "database of something else"),
        (["run", "small.yaml", "--db", "sqlite:///newer.sqlite"], "written by a newer kfsvd-bench"),
        (["report", "small.yaml", "--db", "sqlite:///absent.sqlite"], "there is no store at absent.sqlite"),
        (["report", "small.yaml", "--format", "pdf"], "'pdf' is not one of"),
        (["run", "small.yaml", "--data-dir", "absent"], "data folder of --data-dir does not exist"),
        (["optimizers", "kpsdv"], "unknown method 'kpsdv'; did you mean 'kpsvd'"),
        (["datasets", "fetch", "minst"], "unknown data set 'minst'; did you mean 'mnist'"),
        (["run"], "Missing argument"),
        (["rnu"], "No such command 'rnu'"),
    ],
)
def test_bad_input_gives_a_message_and_exit_code_2(arguments: list[str], message: str, tmp_path: Path) -> None:
    write_spec(tmp_path)
    (tmp_path / "text.sqlite").write_text("this is no database, however long it is " * 50)
    with sqlite3.connect(tmp_path / "other.sqlite") as other:
        other.execute("CREATE TABLE recipes (name TEXT)")
    with sqlite3.connect(tmp_path / "newer.sqlite") as newer:
        newer.execute("CREATE TABLE alembic_version (version_num TEXT)")
        newer.execute("INSERT INTO alembic_version VALUES ('9999')")
    done = bench(tmp_path, *arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert re.search(message, " ".join(done.stderr.split()))
    assert "Traceback" not in done.stderr + done.stdout


def test_all_errors_of_a_spec_are_shown_at_once(tmp_path: Path) -> None:
    text = SMALL.replace("lr: 0.01", "lr: -1").replace("damping: 1.0", "dampning: 1.0", 1).replace("seeds:", "seedz:")
    done = bench(tmp_path, "plan", write_spec(tmp_path, text))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "did you mean 'damping'" in done.stderr
    assert "did you mean 'seeds'" in done.stderr
    assert re.search(r"small.yaml:\d+: optimizers.sgd.lr: .*-1", done.stderr)


def test_a_read_only_store_is_named(tmp_path: Path) -> None:
    spec = write_spec(tmp_path)
    (tmp_path / "folder").mkdir()
    store = tmp_path / "folder" / "x.sqlite"
    sqlite3.connect(store).execute("VACUUM")
    store.touch()
    url = f"sqlite:///file:{store}?mode=ro&uri=true"
    done = bench(tmp_path, "run", spec, "--db", url)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_optimizers_lists_every_method_with_its_options(tmp_path: Path) -> None:
    listed = json.loads(bench(tmp_path, "optimizers", "--json").stdout)
    assert list(listed) == list(METHODS)
    assert "damping" in {option["option"] for option in listed["kpsvd"]}
    assert "damping" in bench(tmp_path, "optimizers", "kpsvd").stdout


def test_environment_tells_no_path_and_no_user(tmp_path: Path) -> None:
    environment = json.loads(bench(tmp_path, "environment", "--json").stdout)
    assert environment["torch"].startswith("2.")
    assert not any("/" in str(environment[key]) for key in ("host", "kfsvd", "python", "torch"))
    assert environment["cores"] >= 1


def test_a_matrix_that_is_excluded_away_measured_nothing(tmp_path: Path) -> None:
    text = SMALL + "exclude: [{dataset: digits}]\n"
    done = bench(tmp_path, "run", write_spec(tmp_path, text))
    assert done.returncode == 4
    assert "nothing to measure" in done.stdout
