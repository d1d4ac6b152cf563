"""`kfsvd-bench datasets`: where the data are, fetching and verifying them."""

from __future__ import annotations

import json as jsonlib
import sys
from typing import TYPE_CHECKING

from tabulate import tabulate

from suite.errors import DataMissingError, ExitCode, SuiteError, did_you_mean
from suite.problems import Folders, dataset_names

if TYPE_CHECKING:
    from pathlib import Path


def list_datasets(data_folder: Path | None, *, json: bool) -> ExitCode:
    """Print every data set: what it is, its size, and where it is found."""
    from suite.problems.data import catalogue

    rows = catalogue(Folders.default(data_folder))
    if json:
        print(jsonlib.dumps(rows, indent=2))
    else:
        shown = [{key: value for key, value in row.items() if key != "source"} for row in rows]
        print(tabulate(shown, headers="keys", maxcolwidths=[None, None, 40, None, None]))
    return ExitCode.FINE


def fetch_datasets(names: list[str], data_folder: Path | None) -> ExitCode:
    """Download or generate data sets, each with a progress bar; go on with the next where one is not to be had.

    Raises:
        SuiteError: no data set has one of the names.

    """
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from suite.problems.data import fetch

    folders = Folders.default(data_folder)
    missing = False
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        tasks = {}

        def report(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done, total=total)

        for name in _known(names):
            try:
                for path in fetch(name, folders, report):
                    progress.console.print(f"{name}: {path}", highlight=False, soft_wrap=True)
            except DataMissingError as error:
                missing = True
                print(f"kfsvd-bench: {error}", file=sys.stderr)
    return ExitCode.CELLS_FAILED if missing else ExitCode.FINE


def verify_datasets(names: list[str], data_folder: Path | None, *, json: bool) -> ExitCode:
    """Hold every file at hand against its checksum; exit 3 where one differs, 4 where there is none.

    Raises:
        SuiteError: no data set has one of the names.

    """
    from suite.problems.data import verify

    folders = Folders.default(data_folder)
    rows = [
        {"data set": name, "file": str(check.file), "verdict": "ok" if check.ok else "differs", "sha256": check.actual}
        for name in _known(names)
        for check in verify(name, folders)
    ]
    if json:
        print(jsonlib.dumps(rows, indent=2))
    else:
        print(tabulate(rows, headers="keys") if rows else "No file is at hand: `kfsvd-bench datasets fetch` gets them.")
    if not rows:
        return ExitCode.NOTHING_MEASURED
    return ExitCode.FINE if all(row["verdict"] == "ok" for row in rows) else ExitCode.CELLS_FAILED


def _known(names: list[str]) -> list[str]:
    known = dataset_names()
    for name in names:
        if name not in known:
            raise SuiteError(f"unknown data set {name!r}{did_you_mean(name, known)}")
    return names or known
