"""The data sets: one file and one line each.

A module of a data set holds what `DataSet` declares. None imports NumPy, SciPy or scikit-learn before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from suite import plugins

if TYPE_CHECKING:
    from pathlib import Path

    from suite.problems.data.folders import Folders
    from suite.problems.data.images import Check, DataInfo, Found, Images
    from suite.problems.data.mirrors import Report

DATASETS: dict[str, str] = {
    "digits": "suite.problems.data.digits",
    "curves": "suite.problems.data.curves",
    "mnist": "suite.problems.data.mnist",
    "faces": "suite.problems.data.faces",
}


class DataSet(Protocol):
    """What a module of a data set holds; a class from outside derives from it and has at least `INFO` and `load`."""

    INFO: DataInfo

    def load(self, folders: Folders) -> Images:
        """The images, fetched or made where they are not at hand."""

    def find(self, folders: Folders) -> Found:
        """The name under which reports will show it, and where it is; loads nothing."""
        from suite.problems.data.images import Found

        return Found(type(self).__name__.lower(), self.INFO.source)

    def fetch(self, folders: Folders, report: Report) -> list[Path]:
        """Get or make its files ahead of time; unless told otherwise, there are none."""
        return []

    def verify(self, folders: Folders) -> list[Check]:
        """Hold the files at hand against their checksums; unless told otherwise, there are none."""
        return []


def dataset(name: str) -> DataSet:
    """The data set of that name in `DATASETS`, of an installed entry point, or at an import path, imported here.

    Raises:
        PluginError: it cannot be imported, or lacks what a `DataSet` has.

    """
    if name in DATASETS:
        return cast("DataSet", import_module(DATASETS[name]))
    found = plugins.resolved(plugins.DATASETS, name)
    missing = [part for part in ("INFO", "load", "find", "fetch", "verify") if not hasattr(found, part)]
    if missing:
        raise plugins.PluginError(f"{name!r} is no suite.problems.data.DataSet: it has no {missing[0]}")
    return cast("DataSet", found() if isinstance(found, type) else found)


def names() -> list[str]:
    """The names of all data sets: the suite's own and those of installed entry points."""
    return list(dict.fromkeys([*DATASETS, *plugins.installed(plugins.DATASETS)]))


def fetch(name: str, folders: Folders, report: Report) -> list[Path]:
    """Get or make the files of a data set ahead of time; their paths (none where it ships with a package).

    Raises:
        DataMissingError: they are neither at hand nor to be had.

    """
    return dataset(name).fetch(folders, report)


def verify(name: str, folders: Folders) -> list[Check]:
    """Hold every file of a data set that is at hand against its checksum."""
    return dataset(name).verify(folders)


def catalogue(folders: Folders) -> list[dict[str, str]]:
    """One row a data set: its name, the name in reports, what it is, its size, its source, and where it is found."""
    rows = []
    for name in names():
        info, found = dataset(name).INFO, dataset(name).find(folders)
        rows.append(
            {
                "name": name,
                "in reports": found.name,
                "what it is": info.description + (", with labels" if info.classes else ""),
                "size": f"{info.train:,} train / {info.test:,} test",
                "source": info.source,
                "found": found.where,
            }
        )
    return rows
