"""What `run`, `plan`, `status` and `report` share: the cells of a spec, and what the store knows of them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from suite.fingerprint import library_fingerprint
from suite.matrix import cells, select
from suite.spec import load_spec

if TYPE_CHECKING:
    from pathlib import Path

    from suite.matrix import Cell
    from suite.spec import Spec


@dataclass(frozen=True)
class Matrix:
    """A spec with its selected cells, and the sources that a result must stem from to count."""

    spec: Spec
    cells: list[Cell]
    fingerprint: str | None  # None: results of any sources count


def load_matrix(path: Path, selection: str | None = None, *, any_sources: bool = False) -> Matrix:
    """Read a spec, expand and select its cells; its warnings go to standard error.

    Raises:
        SpecError: the spec is not valid.
        SuiteError: the selection is not.

    """
    spec = load_spec(path)
    for warning in spec.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    matrix = cells(spec)
    chosen = matrix if selection is None else select(matrix, selection)
    return Matrix(spec, chosen, None if any_sources else library_fingerprint())
