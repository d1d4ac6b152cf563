"""`kfsvd-bench report`: leaderboards and figures from what is measured."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

from suite.commands import DEFAULT_DATABASE
from suite.errors import ExitCode
from suite.plan.plan import load_matrix

if TYPE_CHECKING:
    from pathlib import Path


def report(
    path: Path, db: str, folder: Path, formats: list[str], *, any_sources: bool, allow_import: bool = False
) -> ExitCode:
    """Write the report of a spec into `folder`/<spec name>, and say which files were written.

    Raises:
        SuiteError: the spec or the store cannot be used.

    """
    matrix = load_matrix(path, any_sources=any_sources, allow_import=allow_import)

    from suite.report import write_report
    from suite.store import open_store, shown

    with open_store(db, create=False) as store:
        stage = matrix.stage(store)
        if not store.with_result([cell.key for cell in stage.known], matrix.fingerprint):
            print(
                f"Nothing of {matrix.spec.name} is measured in {shown(db)}: run `kfsvd-bench run {path}` first.",
                file=sys.stderr,
            )
            return ExitCode.NOTHING_MEASURED
        where = [] if db == DEFAULT_DATABASE else ["--db", shown(db)]
        leave = ["--allow-import"] if allow_import else []
        command = shlex.join(["kfsvd-bench", "run", str(path), *where, *leave])
        written = write_report(
            store,
            matrix.spec,
            stage,
            folder / matrix.spec.name,
            command=command,
            formats=formats,
            fingerprint=matrix.fingerprint,
        )
    for file in written:
        print(file)
    return ExitCode.FINE


def compare(
    path: Path, places: tuple[str, str], folder: Path, formats: list[str], *, allow_import: bool = False
) -> ExitCode:
    """Write what two stores have of a spec side by side into `folder`/<spec name>-compared.

    Raises:
        SuiteError: the spec or a store cannot be used, or a format is none of a comparison.

    """
    matrix = load_matrix(path, any_sources=True, allow_import=allow_import)

    from suite.report import write_comparison
    from suite.report.sections.side_by_side import Source
    from suite.store import open_store, shown, url_of

    names = [shown(text) for text in places]
    with open_store(url_of(places[0]), create=False) as a, open_store(url_of(places[1]), create=False) as b:
        written = write_comparison(
            matrix.spec,
            Source(names[0], a, matrix.stage(a)),
            Source(names[1], b, matrix.stage(b)),
            folder / f"{matrix.spec.name}-compared",
            command=shlex.join(["kfsvd-bench", "report", str(path), "--compare", *names]),
            formats=formats,
        )
    if written is None:
        print(f"No cell of {matrix.spec.name} has a result in both {' and '.join(names)}.", file=sys.stderr)
        return ExitCode.NOTHING_MEASURED
    for file in written:
        print(file)
    return ExitCode.FINE
