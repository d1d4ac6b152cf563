"""What `datasets list`, `fetch` and `verify` are made of."""

from __future__ import annotations

import hashlib
import inspect
import json
import subprocess
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np
import pytest

from suite.errors import DataMissingError
from suite.problems.data import DATASETS, DataSet, catalogue, curves, dataset, fetch, mnist, verify
from suite.problems.data.cache import sha256
from suite.problems.data.images import Check
from suite.problems.data.mirrors import silent

if TYPE_CHECKING:
    from pathlib import Path

    from suite.problems.data.folders import Folders


@pytest.mark.parametrize("name", DATASETS)
def test_a_module_holds_what_the_protocol_declares(name: str) -> None:
    module = import_module(DATASETS[name])
    assert module is dataset(name)
    assert module.INFO.train > module.INFO.test > 0
    declared = [member for member, value in vars(DataSet).items() if inspect.isfunction(value) and member[0] != "_"]
    assert declared == ["load", "find", "fetch", "verify"]
    for member in declared:
        parameters = list(inspect.signature(getattr(DataSet, member)).parameters)[1:]
        assert list(inspect.signature(getattr(module, member)).parameters) == parameters


def test_the_catalogue_is_plain_words_for_every_data_set(folders: Folders, offline: str) -> None:
    rows = catalogue(folders)
    assert [row["name"] for row in rows] == list(DATASETS)
    assert json.loads(json.dumps(rows)) == rows
    by_name = {row["name"]: row for row in rows}
    assert by_name["digits"] == {
        "name": "digits",
        "in reports": "digits",
        "what it is": "handwritten digits, 8×8, with labels",
        "size": "1,437 train / 360 test",
        "source": "ships with scikit-learn",
        "found": "in scikit-learn",
    }
    assert by_name["curves"]["in reports"] == "curves-synthetic"
    assert by_name["curves"]["found"] == "generated when first used"
    assert by_name["mnist"]["found"] == "missing: 4 of 4 files"
    assert by_name["faces"]["in reports"] == "faces-rebuilt"
    assert by_name["faces"]["found"] == "missing"
    assert list(folders.cache.iterdir()) == []  # a list makes nothing


def test_the_catalogue_says_where_files_are(folders: Folders) -> None:
    assert folders.data is not None
    (folders.data / "digs3pts_1.mat").touch()
    found = {row["name"]: (row["in reports"], row["found"]) for row in catalogue(folders)}
    assert found["curves"] == ("curves", str(folders.data / "digs3pts_1.mat"))


def test_a_name_is_the_same_thing_before_and_after_a_data_set_is_imported() -> None:
    """A module of the package by the name of one of its functions would take that function's place."""
    import suite.problems.data as package

    for name in DATASETS:
        dataset(name)
    assert package.fetch is fetch
    assert all(callable(getattr(package, name)) for name in ("catalogue", "dataset", "fetch", "verify"))


def test_without_files_there_is_nothing_to_verify(folders: Folders) -> None:
    assert {name: verify(name, folders) for name in DATASETS} == {name: [] for name in DATASETS}


def test_a_check_holds_what_a_file_is_against_what_it_should_be(folders: Folders) -> None:
    assert folders.data is not None
    path = folders.data / mnist.FILES[0].name
    path.write_bytes(b"words")
    assert verify("mnist", folders) == [
        Check(path, mnist.FILES[0].unpacked, hashlib.sha256(b"words").hexdigest()),
    ]
    assert [check.ok for check in verify("mnist", folders)] == [False]


def test_both_folders_are_verified(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    assert folders.data is not None
    good, bad = np.zeros((2, 2), np.uint8), np.ones((2, 2), np.uint8)
    monkeypatch.setattr(curves, "SHA256", sha256(good))
    np.save(folders.data / curves.GENERATED, bad)
    np.save(folders.cache / curves.GENERATED, good)
    checks = verify("curves", folders)
    assert [(check.file.parent, check.ok) for check in checks] == [(folders.data, False), (folders.cache, True)]


def test_what_is_not_to_be_had_is_an_error(folders: Folders, offline: str) -> None:
    for name in ("mnist", "faces"):
        with pytest.raises(DataMissingError, match=f"^{name}: "):
            fetch(name, folders, silent)


def test_fetching_what_ships_with_a_package_needs_nothing(folders: Folders, offline: str) -> None:
    assert fetch("digits", folders, silent) == []


def test_a_catalogue_is_made_without_heavy_imports(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; import suite.problems; from suite.problems.data import catalogue;"
        f"catalogue(suite.problems.Folders(None, Path({str(tmp_path)!r})));"
        "print(*{'torch', 'numpy', 'scipy', 'sklearn'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
