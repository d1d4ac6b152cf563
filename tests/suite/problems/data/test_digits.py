from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from suite.problems.data import dataset
from suite.problems.data.mirrors import silent

if TYPE_CHECKING:
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


def test_they_need_no_files(folders: Folders) -> None:
    DIGITS.load(folders)
    assert DIGITS.find(folders) == ("digits", "in scikit-learn")
    assert DIGITS.fetch(folders, silent) == []
    assert DIGITS.verify(folders) == []
    assert list(folders.cache.iterdir()) == []
