from __future__ import annotations

import gzip
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from suite.errors import DataMissingError
from suite.problems.data import dataset, digits
from suite.problems.data.mirrors import silent

if TYPE_CHECKING:
    from pathlib import Path

    from suite.problems.data.folders import Folders

DIGITS = dataset("digits")


def test_they_are_scikit_learns_in_its_order(folders: Folders) -> None:
    from sklearn.datasets import load_digits

    images = DIGITS.load(folders)
    bunch = load_digits()
    np.testing.assert_array_equal(np.concatenate([images.train, images.test]) * images.scale, bunch.images / 16)
    assert images.train_labels is not None
    assert images.test_labels is not None
    np.testing.assert_array_equal(np.concatenate([images.train_labels, images.test_labels]), bunch.target)


def test_they_are_what_is_said_of_them(folders: Folders) -> None:
    images = DIGITS.load(folders)
    assert (len(images.train), len(images.test)) == (DIGITS.INFO.train, DIGITS.INFO.test)
    assert images.name == "digits"
    assert images.train.dtype == np.uint8
    assert images.train_labels is not None
    assert images.train_labels.dtype == np.int64
    assert set(images.train_labels.tolist()) == set(range(DIGITS.INFO.classes or 0))
    assert images.train.min() * images.scale == 0
    assert images.train.max() * images.scale == 1


def test_they_are_read_without_scikit_learn(folders: Folders) -> None:
    script = (
        "import sys; from pathlib import Path; from suite.problems import Folders\n"
        "from suite.problems.data import digits\n"
        f"digits.load(Folders(None, Path({str(folders.cache)!r})))\n"
        "print(*{'sklearn', 'scipy', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        (b"not compressed", "cannot be read"),
        (gzip.compress(b"0,1\n", mtime=0), "is not the file of scikit-learn"),
    ],
    ids=["absent", "not compressed", "other numbers"],
)
def test_another_file_is_refused(
    content: bytes | None, message: str, folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "sklearn"
    (package / digits.FILE).parent.mkdir(parents=True)
    if content is not None:
        (package / digits.FILE).write_bytes(content)
    monkeypatch.setattr(digits, "find_spec", lambda _: SimpleNamespace(submodule_search_locations=[str(package)]))
    with pytest.raises(DataMissingError, match=message):
        digits.load(folders)


def test_without_scikit_learn_it_says_what_to_install(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits, "find_spec", lambda _: None)
    with pytest.raises(DataMissingError, match="pip install scikit-learn"):
        digits.load(folders)


def test_they_need_no_files(folders: Folders) -> None:
    DIGITS.load(folders)
    assert DIGITS.find(folders) == ("digits", "in scikit-learn")
    assert DIGITS.fetch(folders, silent) == []
    assert DIGITS.verify(folders) == []
    assert list(folders.cache.iterdir()) == []
