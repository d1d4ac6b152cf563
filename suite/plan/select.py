"""Cells and runs picked by an expression such as `optimizer=kpsvd,seed=0|1`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol, TypeVar

from suite.errors import SuiteError, did_you_mean
from suite.spec.grids import base_label, same_label

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Labelled(Protocol):
    """What can be selected: cells, and runs of them."""

    @property
    def optimizer(self) -> str:
        """Its label in the spec."""

    @property
    def dataset(self) -> str:
        """Its label in the spec."""

    @property
    def seed(self) -> int:
        """What it starts from."""

    @property
    def compressed_by(self) -> str:
        """The label of the method that its network is compressed by; "" where it is not."""


_Selectable = TypeVar("_Selectable", bound=Labelled)

SELECTABLE = ("optimizer", "dataset", "seed", "compression")
"""The keys of an expression."""


def select(cells: Iterable[_Selectable], expression: str) -> list[_Selectable]:
    """The cells that an expression such as `optimizer=kpsvd,seed=0|1` picks, in their order.

    The keys are optimizer, dataset, seed and compression, the method by which a trained network is made smaller; `|`
    joins values of a key. An optimizer that is a grid is named by one of its labels, `kpsvd[lr=0.1]`, or as a whole,
    `kpsvd`.

    Raises:
        SuiteError: the expression is not of that form, or names what no cell has.
    """
    matrix = list(cells)
    chosen: dict[str, list[str]] = {}
    for part in re.split(r",(?![^\[\]]*\])", expression):  # not the commas of kpsvd[lr=0.1,damping=0.3]
        key, equals, values = (text.strip() for text in part.partition("="))
        if not equals or not key or not values:
            raise SuiteError(f"selection {part!r} is not of the form KEY=VALUE, such as optimizer=kpsvd,seed=0")
        if key not in SELECTABLE:
            raise SuiteError(f"selection {part!r}: unknown key {key!r}{did_you_mean(key, SELECTABLE)}")
        if key in chosen:
            raise SuiteError(f"selection {part!r}: {key} is given twice; join its values with |")
        chosen[key] = [value.strip() for value in values.split("|")]
    for key, names in chosen.items():
        _check_names(matrix, key, names)
    return [
        cell for cell in matrix if all(any(_bears(cell, key, name) for name in names) for key, names in chosen.items())
    ]


def _named(cell: Labelled, key: str) -> str:
    return cell.compressed_by if key == "compression" else str(getattr(cell, key))


def _bears(cell: Labelled, key: str, name: str) -> bool:
    label = _named(cell, key)
    return same_label(name, label) if key == "optimizer" else name == label


def _check_names(matrix: Sequence[Labelled], key: str, names: Iterable[str]) -> None:
    labels = dict.fromkeys(label for cell in matrix if (label := _named(cell, key)))
    known = dict.fromkeys([*map(base_label, labels), *labels]) if key == "optimizer" else labels
    for name in names:
        if name not in known:
            raise SuiteError(f"selection: no cell has {key} {name!r}{did_you_mean(name, known)}")
