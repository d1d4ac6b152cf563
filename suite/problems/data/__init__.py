"""The data sets: one file and one line each.

A module holds `DESCRIPTION` and `SIZE` (words), `load(folders) -> Images`, `files(folders)`: what it reads, where that
is and what it should be, and `fetch(folders, report)`: get or make it ahead of time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from suite.problems.data.fetch import Check, Report
    from suite.problems.data.folders import Folders
    from suite.problems.data.images import Images

DATASETS: dict[str, str] = {
    "digits": "suite.problems.data.digits",
    "curves": "suite.problems.data.curves",
    "mnist": "suite.problems.data.mnist",
    "faces": "suite.problems.data.faces",
}


def load_images(name: str, folders: Folders) -> Images:
    """The data set of that name, fetched or generated where it is not at hand.

    Raises:
        DataMissingError: it is neither at hand nor to be had.

    """
    images: Images = import_module(DATASETS[name]).load(folders)
    return images


def fetch(name: str, folders: Folders, report: Report) -> list[Path]:
    """Get or make the files of a data set ahead of time; their paths.

    Raises:
        DataMissingError: they are not to be had.

    """
    paths: list[Path] = import_module(DATASETS[name]).fetch(folders, report)
    return paths


def verify(name: str, folders: Folders) -> list[Check]:
    """Hold the files of a data set that are at hand against their checksums."""
    checks: list[Check] = import_module(DATASETS[name]).verify(folders)
    return checks


def catalogue(folders: Folders) -> list[dict[str, Any]]:
    """One row a data set: its name, what it is, its size and where it is found."""
    rows = []
    for name, module in DATASETS.items():
        found = import_module(module)
        rows.append(
            {"name": name, "what it is": found.DESCRIPTION, "size": found.SIZE, "found": found.whereabouts(folders)}
        )
    return rows
