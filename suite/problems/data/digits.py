"""The handwritten digits that ship with scikit-learn, 8×8 with 17 grey levels: always at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from suite.problems.data.images import Images

if TYPE_CHECKING:
    from pathlib import Path

    from suite.problems.data.fetch import Check, Report
    from suite.problems.data.folders import Folders

DESCRIPTION = "handwritten digits, 8×8, with labels; ships with scikit-learn"
SIZE = "1,437 train / 360 test"
TRAIN = 1437


def load(folders: Folders) -> Images:
    """The first 1,437 examples train, the last 360 (other writers) test; pixels /16."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = bunch.images.astype(np.uint8)
    labels = bunch.target
    return Images("digits", images[:TRAIN], images[TRAIN:], 1 / 16, labels[:TRAIN], labels[TRAIN:])


def whereabouts(folders: Folders) -> str:
    """Where it is found."""
    return "in scikit-learn"


def fetch(folders: Folders, report: Report) -> list[Path]:
    """Nothing to fetch."""
    return []


def verify(folders: Folders) -> list[Check]:
    """Nothing to verify: the package manager has done so."""
    return []
