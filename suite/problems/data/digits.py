"""The handwritten digits that ship with scikit-learn, 8×8 with 17 grey levels: always at hand."""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from suite.errors import DataMissingError
from suite.problems.data.images import Check, DataInfo, Found, Images

if TYPE_CHECKING:
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


FILE = "datasets/data/digits.csv.gz"
"""In scikit-learn's folder: 64 pixels and the label, an example a line."""

SHA256 = "6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8"
"""Of its content."""


def load(folders: Folders) -> Images:
    """In scikit-learn's order, the first 1,437 examples train and the last 360 test; pixels /16.

    The file is read without scikit-learn, which takes a second to import.

    Raises:
        DataMissingError: scikit-learn is not installed, or its file is not the one that is known.

    """
    import numpy as np

    table = np.loadtxt(io.BytesIO(_content()), delimiter=",", dtype=np.uint8)
    images, labels = table[:, :-1].reshape(-1, *INFO.shape), table[:, -1].astype(np.int64)
    train = INFO.train
    return Images("digits", images[:train], images[train:], 1 / 16, labels[:train], labels[train:])


def _content() -> bytes:
    found = find_spec("sklearn")
    places = found.submodule_search_locations if found is not None else None
    if not places:
        raise DataMissingError("digits: scikit-learn, which has the images, is not installed: pip install scikit-learn")
    file = Path(places[0]) / FILE
    try:
        content = gzip.decompress(file.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DataMissingError(f"digits: {file} cannot be read ({error}): install scikit-learn again") from None
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise DataMissingError(f"digits: {file} is not the file of scikit-learn 1.4: install scikit-learn again")
    return content


def find(folders: Folders) -> Found:
    """It is in the package."""
    return Found("digits", "in scikit-learn")


def fetch(folders: Folders, report: Report) -> list[Path]:
    """Nothing to fetch."""
    return []


def verify(folders: Folders) -> list[Check]:
    """Nothing to verify: the package manager has done so."""
    return []
