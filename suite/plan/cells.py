"""The cells of a spec, and what identifies each: its content, never its labels."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol, TypeVar

from suite.cell import Cell, Recipe
from suite.errors import SuiteError, did_you_mean
from suite.spec.compression import Compression
from suite.spec.faults import Fault, SpecError
from suite.spec.reading import Spec, base_label, same_label

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


def cells(spec: Spec) -> list[Cell]:
    """The matrix of a spec, data set by data set, seed by seed, optimizer by optimizer.

    Where the spec tunes its optimizers, another setting stands in for the one that is not chosen yet.

    Raises:
        SpecError: two cells have the same content under different labels.
    """
    recipes = {
        (dataset, optimizer): Recipe(spec.method(optimizer, dataset), problem, spec.budget_of(dataset), spec.measure)
        for dataset, problem in spec.datasets.items()
        for optimizer in spec.optimizers
    }
    matrix = [
        Cell(optimizer, dataset, seed, recipes[dataset, optimizer])
        for dataset in spec.datasets
        for seed in spec.seeds
        for optimizer in spec.optimizers
        if not any(entry.matches(optimizer, dataset, seed) for entry in spec.exclude)
    ]
    if spec.tuning is not None:
        return matrix  # what is the same before it is tuned may differ after
    first: dict[str, Cell] = {}
    faults = [_twin(spec, cell, first[cell.key]) for cell in matrix if first.setdefault(cell.key, cell) is not cell]
    if faults:
        raise SpecError(dict.fromkeys(faults))
    return matrix


def compressions(spec: Spec, finals: Iterable[Cell]) -> list[Cell]:
    """What a spec compresses of the networks that final cells train, data set by data set and method by method.

    Raises:
        SpecError: two methods are the same under different labels.
    """
    outline = spec.compression
    if outline is None:
        return []
    ways = [Compression(label, method, outline) for label, method in outline.methods.items()]
    made = [cell.changed(compression=way) for cell in finals if cell.optimizer == outline.trained_by for way in ways]
    first: dict[str, Cell] = {}
    for cell in made:
        other = first.setdefault(cell.key, cell)
        if other is not cell and cell.compression is not None and other.compression is not None:
            path = ("compression", "methods", cell.compression.label)
            text = f"is the same as {other.compression.label!r}; remove one"
            raise SpecError([spec.document.located(Fault(path, text))])
    return made


def _twin(spec: Spec, cell: Cell, other: Cell) -> str:
    """The fault of two cells that differ in their labels alone."""
    if cell.optimizer == other.optimizer:
        fault = Fault(("datasets", cell.dataset), f"is the same as data set {other.dataset!r}; remove one")
    elif cell.dataset == other.dataset:
        path = ("optimizers", base_label(cell.optimizer))
        text = f"{cell.optimizer!r} is the same as {other.optimizer!r} on data set {cell.dataset!r}; remove one"
        fault = Fault(path, text)
    else:
        text = f"{cell.name} is the same as {other.name}; remove one"
        fault = Fault(("datasets", cell.dataset), text)
    return spec.document.located(fault)


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
