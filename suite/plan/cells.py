"""The cells of a spec, and what identifies each: its content, never its labels."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from suite.cell import Cell, Recipe
from suite.spec.compression import Compression
from suite.spec.faults import Fault, SpecError
from suite.spec.reading import Spec, base_label

if TYPE_CHECKING:
    from collections.abc import Iterable


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
    trained = [cell for cell in finals if cell.optimizer == outline.trained_by]
    recipes = {(cell.dataset, way.label): replace(cell.recipe, compression=way) for cell in trained for way in ways}
    made = [replace(cell, recipe=recipes[cell.dataset, way.label]) for cell in trained for way in ways]
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
