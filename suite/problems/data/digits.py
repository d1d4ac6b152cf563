"""The handwritten digits that ship with scikit-learn, 8×8 with 17 grey levels: always at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from suite.problems.data.images import Check, DataInfo, Found, Images

if TYPE_CHECKING:
    from pathlib import Path

    from suite.problems.data.folders import Folders
    from suite.problems.data.mirrors import Report

INFO = DataInfo(
    "handwritten digits, 8×8",
    1437,
    360,
    "ships with scikit-learn",
    classes=10,
    unit_interval=True,
    shape=(8, 8),
)


def load(folders: Folders) -> Images:
    """In scikit-learn's order, the first 1,437 examples train and the last 360 test; pixels /16."""
    import numpy as np
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images, labels = bunch.images.astype(np.uint8), bunch.target.astype(np.int64)
    train = INFO.train
    return Images("digits", images[:train], images[train:], 1 / 16, labels[:train], labels[train:])


def find(folders: Folders) -> Found:
    """It is in the package."""
    return Found("digits", "in scikit-learn")


def fetch(folders: Folders, report: Report) -> list[Path]:
    """Nothing to fetch."""
    return []


def verify(folders: Folders) -> list[Check]:
    """Nothing to verify: the package manager has done so."""
    return []
