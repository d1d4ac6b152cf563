"""Small specs that compress, and their cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.suite.helpers import SMALL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from suite.cell import Cell

TRACK = """\
compression:
  trained_by: adam
  ratios: [1.0, 0.4]
  fine_tuning: 10
  examples: 64
  methods:
    magnitude: {method: magnitude}
    surgeon-kfac: {method: surgeon, approximation: kfac, shots: 2}
    surgeon-kpsvd: {method: surgeon, shots: 2}
    rows: {method: surgeon, structure: row}
    svd: {method: svd}
    fwsvd: {method: fwsvd}
    gfwsvd: {method: gfwsvd}
"""
COMPRESSING = SMALL + TRACK
METHODS = ["magnitude", "surgeon-kfac", "surgeon-kpsvd", "rows", "svd", "fwsvd", "gfwsvd"]


def labels(cells: Sequence[Cell]) -> list[str]:
    """The methods of some cells, each once."""
    return list(dict.fromkeys(cell.compression.label for cell in cells if cell.compression is not None))
