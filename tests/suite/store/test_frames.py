"""Tidy tables of a store: in pandas, in files, through the command line; every number is the store's."""

from __future__ import annotations

import datetime as dt
import importlib.util
import json
import math
import re
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd
import pytest

import suite
from suite.commands.export import export
from suite.errors import ExitCode, SuiteError
from suite.records import Compressed, Records
from suite.report import write_report
from suite.store import frames, open_store
from suite.store.frames import write_parquet
from suite.store.tidy import Tidy, kinds, write_csv, write_json
from tests.suite.helpers import SMALL, bench, write_spec
from tests.suite.stores import evaluations, finished, fisher, iterations, kept, matrix_of

if TYPE_CHECKING:
    from pathlib import Path

TABLES = ["runs", "iterations", "evaluations", "fisher_errors", "inverse_ranks", "compressions"]
NAMES = ["experiment", "sources", "dataset", "optimizer", "compression", "seed", "run"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store with a cell that diverged and one that failed, the others done; one twice, and once of old sources."""
    matrix = matrix_of(tmp_path, SMALL.replace("lr: 0.1, damping: 1.0", "lr: 0.1, damping: [1.0, 2.5]", 1))
    with open_store(f"sqlite:///{tmp_path}/kfsvd-bench.sqlite") as store:
        for cell in matrix.cells:
            if (cell.optimizer, cell.seed) == ("sgd", 1):
                finished(store, cell, Records(iterations(7), evaluations([40.0, math.nan]), []), "diverged")
            elif (cell.optimizer, cell.seed) == ("adam", 1):
                finished(store, cell, Records(iterations(3), [], []), "error")
            else:
                errors = [fisher("linear1", 60, 0.2, math.nan, 0.1, 0.3)] if cell.method.method == "kpsvd" else []
                ranks = [kept("linear1", 60, 5, 3)] if cell.method.method == "kpsvd" else []
                losses = evaluations([40.0, 20.0 + cell.seed])
                smaller = [Compressed(0.5, 0, 500, 21.5, math.nan)] if cell.method.method == "adam" else []
                finished(store, cell, Records(iterations(60), losses, errors, ranks, smaller))
        finished(store, matrix.cells[0], Records(iterations(60), evaluations([40.0, 19.0]), []))
        finished(store, matrix.cells[0], Records(iterations(60), evaluations([40.0, 18.0]), []), fingerprint="old")
    return tmp_path


def test_load_has_the_latest_result_of_each_cell_and_version_of_the_sources(folder: Path) -> None:
    found = suite.load(folder / "kfsvd-bench.sqlite")
    runs = found.runs
    assert len(runs) == 10 - 1 + 1
    first = runs[(runs.optimizer == "sgd") & (runs.seed == 0)]
    assert dict(zip(first.sources, first.train_loss, strict=True)) == {"sources": 19.0, "old": 18.0}
    assert set(runs.status) == {"done", "diverged"}
    assert (runs[runs.status == "done"].iterations == 60).all()
    diverged = runs[runs.status == "diverged"].iloc[0]
    assert (diverged.iterations, diverged.training_seconds) == (7, pytest.approx(0.07))
    assert math.isnan(diverged.train_loss)
    everything = suite.load(f"sqlite:///{folder}/kfsvd-bench.sqlite", attempts=True).runs
    assert len(everything) == 12
    assert set(everything.status) == {"done", "diverged", "error"}


def test_records_carry_the_names_of_their_run_and_add_up_to_the_store(folder: Path) -> None:
    found = suite.load(folder / "kfsvd-bench.sqlite", attempts=True)
    with sqlite3.connect(folder / "kfsvd-bench.sqlite") as connection:
        for name in TABLES[1:]:
            frame = getattr(found, name)
            assert list(frame.columns[:7]) == NAMES
            ((count,),) = connection.execute(f"SELECT count(*) FROM {name}")
            assert len(frame) == count > 0
        query = "SELECT sum(loss), sum(update_seconds) FROM iterations JOIN runs ON runs.id = run_id "
        ((loss, update),) = connection.execute(query + "WHERE optimizer = 'adam' AND seed = 0")
    mine = found.iterations[(found.iterations.optimizer == "adam") & (found.iterations.seed == 0)]
    assert (mine.loss.sum(), mine.update_seconds.sum()) == (pytest.approx(loss), pytest.approx(update))
    assert list(mine.iteration) == list(range(1, 61))
    (row,) = found.fisher_errors[found.fisher_errors.seed == 1].to_dict("records")
    assert (row["layer"], row["own"], row["rank"], row["in_batch"]) == ("linear1", True, 1, 0.2)
    assert math.isnan(row["held_out"])
    assert found.inverse_ranks.inputs.tolist() == [5, 5]


def test_options_are_columns_of_their_own_kind(folder: Path) -> None:
    runs = suite.load(folder / "kfsvd-bench.sqlite").runs.set_index(["optimizer", "seed", "sources"])
    kfac, adam = runs.loc["kfac[damping=2.5]", 0, "sources"], runs.loc["adam", 0, "sources"]
    assert (kfac["method"], kfac["options.damping"], kfac["options.lr"]) == ("kfac", 2.5, 0.1)
    assert kfac["options.step_rule"] == "kl_clip"
    assert math.isnan(adam["options.damping"])
    assert (adam["options.beta1"], adam["batch_size"], adam["likelihood"]) == (0.9, 64, "bernoulli")
    assert runs["options.fisher_samples"].dtype == "Int64"
    assert runs["options.damping"].dtype == "float64"
    assert runs["started_at"].dtype == "datetime64[us, UTC]"
    assert len(set(runs.loc["adam"].setting)) == 1
    assert len(set(runs.setting)) == 5, "all seeds of one setting, and no other"


def test_a_spec_narrows_it_down(folder: Path) -> None:
    spec = write_spec(folder, SMALL.replace("seeds: [0, 1]", "seeds: [1]"), "one.yaml")
    runs = suite.load(folder / "kfsvd-bench.sqlite", spec=spec).runs
    assert sorted(runs.optimizer) == ["kfac[damping=1]", "kpsvd", "sgd"], "under the names of the spec that measured it"
    assert set(runs.seed) == {1}


def test_the_package_itself_imports_nothing(folder: Path) -> None:
    heavy = "{'pandas', 'pyarrow', 'sqlalchemy', 'torch', 'numpy', 'pydantic'}"
    code = f"import sys, suite; sys.exit(len({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=folder, check=False).returncode == 0


def test_without_pandas_the_message_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(frames, "find_spec", lambda name: None if name == "pyarrow" else found(name))
    message = re.escape("pyarrow not installed: pip install 'kfsvd-bench[frames]'")
    with pytest.raises(SuiteError, match=message):
        suite.load(folder / "kfsvd-bench.sqlite")
    url = f"sqlite:///{folder}/kfsvd-bench.sqlite"
    with pytest.raises(SuiteError, match=message):
        export(None, url, folder / "out", "parquet", attempts=False)
    assert export(None, url, folder / "out", "csv", attempts=False) == ExitCode.FINE, "which needs no pandas"
    matrix = matrix_of(folder)
    arguments: dict[str, Any] = {"command": "c", "formats": ["parquet"], "fingerprint": None}
    with open_store(url) as store:
        place = (store, matrix.spec, matrix.stage(None), folder / "report")
        with pytest.raises(SuiteError, match=message):
            write_report(*place, **arguments)
    assert not (folder / "report").exists()


def test_a_store_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=re.escape(f"there is no store at {tmp_path}/absent.sqlite")):
        suite.load(tmp_path / "absent.sqlite")


def test_export_writes_the_same_tables_in_every_format(folder: Path) -> None:
    found = suite.load(folder / "kfsvd-bench.sqlite")
    for kind in ("csv", "json", "parquet"):
        done = bench(folder, "export", "--format", kind, "--out", "tables")
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == [f"tables/{name}.{kind}" for name in TABLES]
    for name in TABLES:
        frame = getattr(found, name)
        assert len(frame) > 0
        pd.testing.assert_frame_equal(pd.read_parquet(folder / "tables" / f"{name}.parquet"), frame)
        plain = pd.read_csv(folder / "tables" / f"{name}.csv")
        rows = json.loads((folder / "tables" / f"{name}.json").read_text())
        assert list(plain.columns) == list(rows[0]) == list(frame.columns)
        for column in frame.columns:
            if frame[column].dtype in ("float64", "Int64"):
                expected = [None if pd.isna(value) else value for value in frame[column]]
                assert [row[column] for row in rows] == expected
                assert [None if pd.isna(value) else value for value in plain[column]] == expected, column
            elif frame[column].dtype == "string":
                assert [row[column] for row in rows] == [None if pd.isna(v) else v for v in frame[column]]


def test_export_of_a_spec_and_of_nothing(folder: Path) -> None:
    write_spec(folder, SMALL.replace("seeds: [0, 1]", "seeds: [1]"), "one.yaml")
    assert bench(folder, "export", "one.yaml", "--out", "one").returncode == 0
    assert set(pd.read_csv(folder / "one" / "evaluations.csv").seed) == {1}
    assert bench(folder, "export", "one.yaml", "--out", "all", "--attempts").returncode == 0
    assert len(pd.read_csv(folder / "all" / "runs.csv")) == 4
    write_spec(folder, SMALL.replace("seeds: [0, 1]", "seeds: [8]"), "none.yaml")
    done = bench(folder, "export", "none.yaml", "--out", "none")
    assert (done.returncode, done.stderr) == (
        4,
        "Nothing of none.yaml is measured in sqlite:///kfsvd-bench.sqlite.\n",
    )
    assert not (folder / "none").exists()
    (folder / "file").write_text("")
    done = bench(folder, "export", "--out", "file")
    assert done.returncode == 2
    assert "the tables cannot be written into file: File exists" in done.stderr
    assert bench(folder, "export", "--db", "sqlite:///absent.sqlite").returncode == 2


def test_the_report_as_parquet_is_its_csv_with_types(folder: Path) -> None:
    matrix = matrix_of(folder)
    with open_store(f"sqlite:///{folder}/kfsvd-bench.sqlite") as store:
        written = write_report(
            store,
            matrix.spec,
            matrix.stage(None),
            folder / "out",
            command="c",
            formats=["csv", "parquet"],
            fingerprint="sources",
        )
    names = ["cells", "curves", "fisher", "ranks", "compressions"]
    assert [path.name for path in written] == [f"{name}.{kind}" for kind in ("csv", "parquet") for name in names]
    for name in names:
        plain, typed = pd.read_csv(folder / "out" / f"{name}.csv"), pd.read_parquet(folder / "out" / f"{name}.parquet")
        assert len(plain) == len(typed)
        assert len(plain) > 0 or name == "compressions", "this spec compresses nothing"
        for column in plain:
            assert [None if pd.isna(value) else value for value in plain[column]] == [
                None if pd.isna(value) else value for value in typed[column]
            ]
    curves = pd.read_parquet(folder / "out" / "curves.parquet")
    assert (curves.iteration.dtype, curves.cpu_seconds.dtype) == ("Int64", "float64")
    assert (curves.cpu_seconds == 2 * curves.seconds).all()
    assert pd.read_parquet(folder / "out" / "cells.parquet").contended.dtype == "boolean"


class Row(NamedTuple):
    layer: str
    own: bool
    rank: int | None
    error: float


def test_a_table_without_rows_keeps_its_columns_and_their_kinds(tmp_path: Path) -> None:
    table = Tidy(kinds(Row) | {"at": dt.datetime}, [])
    read = pd.read_parquet(write_parquet(table, tmp_path / "t.parquet"))
    assert [(name, str(kind)) for name, kind in read.dtypes.items()] == [
        ("layer", "string"),
        ("own", "boolean"),
        ("rank", "Int64"),
        ("error", "float64"),
        ("at", "datetime64[us, UTC]"),
    ]
    assert write_csv(table, tmp_path / "t.csv").read_text() == "layer,own,rank,error,at\n"
    assert json.loads(write_json(table, tmp_path / "t.json").read_text()) == []
