"""The cells of a spec, and what identifies each: its content, never its labels."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from suite.compression.spec import Compression
from suite.errors import SuiteError
from suite.faults import Fault, SpecError
from suite.hints import did_you_mean
from suite.labels import labelled
from suite.spec import Spec, base_label, same_label

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from suite.methods import Method
    from suite.model import Model
    from suite.problems import ProblemSpec
    from suite.spec import Budget, Measure


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

_SEED = "\0 stands for the seed"  # which no name or option holds: YAML has no such character

SELECTABLE = ("optimizer", "dataset", "seed", "compression")


@dataclass(frozen=True)
class Cell:
    """One training run of a benchmark: an optimizer on a data set from a seed; and what becomes of its network."""

    optimizer: str  # labels in the spec
    dataset: str
    seed: int
    method: Method
    problem: ProblemSpec
    budget: Budget
    measure: Measure
    compression: Compression | None = None

    @property
    def compressed_by(self) -> str:
        """The label of the method that its network is compressed by; "" where it is not."""
        return "" if self.compression is None else self.compression.label

    @property
    def label(self) -> str:
        """The optimizer's, or "gfwsvd of adam" where its network is compressed."""
        return labelled(self.optimizer, self.compressed_by)

    @property
    def name(self) -> str:
        """For people: "kpsvd × digits × seed 0"."""
        return f"{self.label} × {self.dataset} × seed {self.seed}"

    @property
    def batch_size(self) -> int:
        """Examples of a step: the optimizer's own, or the data set's."""
        return self.method.batch_size or self.problem.batch_size

    @cached_property
    def definition(self) -> dict[str, Any]:
        """All that the run depends on, as plain JSON values; whole numbers are integers (1.0 is 1)."""
        return {**self._group.definition, "seed": self.seed}

    @cached_property
    def key(self) -> str:
        """First 16 hex digits of the SHA-256 of the definition's canonical JSON."""
        return _digest(f"{self.seed}".join(self._group.around_seed))

    @cached_property
    def group_key(self) -> str:
        """The same of the definition without its seed: what a cell's duration depends on."""
        return self._group.key

    @cached_property
    def _group(self) -> _Group:
        parts = (self.method, self.problem, self.budget, self.measure, self.compression)
        return _group(*map(_Same, parts))


@dataclass(frozen=True, eq=False)
class _Same:
    """A part of cells, known by its identity: cells share their parts, and there may be a hundred thousand."""

    part: Any

    def __hash__(self) -> int:
        return id(self.part)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.part is other.part


class _Group(NamedTuple):
    """What cells share that differ in their seed alone."""

    definition: dict[str, Any]
    key: str
    around_seed: tuple[str, str]  # the canonical JSON of a cell's definition before its seed and after


@lru_cache(maxsize=4096)
def _group(method: _Same, problem: _Same, budget: _Same, measure: _Same, compression: _Same) -> _Group:
    content = _content(method.part)
    for name in method.part.newer:
        if getattr(method.part, name) == type(method.part).model_fields[name].default:
            del content[name]
    sources = {"method": method.part.sources, "problem": problem.part.sources}
    from_outside = {part: digest for part, digest in sources.items() if digest is not None}
    definition = {
        **({"sources": from_outside} if from_outside else {}),
        "method": content,
        "problem": _content(problem.part),
        "budget": _content(budget.part),
        "measure": _content(measure.part),
        **({} if compression.part is None else {"compression": _compression(compression.part)}),
    }
    before, after = _canonical({**definition, "seed": _SEED}).split(_canonical(_SEED))
    return _Group(definition, _digest(_canonical(definition)), (before, after))


def cells(spec: Spec) -> list[Cell]:
    """The matrix of a spec, data set by data set, seed by seed, optimizer by optimizer.

    Where the spec tunes its optimizers, another setting stands in for the one that is not chosen yet.

    Raises:
        SpecError: two cells have the same content under different labels.
    """
    matrix = [
        Cell(
            optimizer=optimizer,
            dataset=dataset,
            seed=seed,
            method=spec.method(optimizer, dataset),
            problem=problem,
            budget=spec.budget_of(dataset),
            measure=spec.measure,
        )
        for dataset, problem in spec.datasets.items()
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
    made = [replace(cell, compression=way) for cell in finals if cell.optimizer == outline.trained_by for way in ways]
    first: dict[str, Cell] = {}
    for cell in made:
        other = first.setdefault(cell.key, cell)
        if other is not cell and cell.compression is not None and other.compression is not None:
            path = ("compression", "methods", cell.compression.label)
            text = f"is the same as {other.compression.label!r}; remove one"
            raise SpecError([spec.document.located(Fault(path, text))])
    return made


def _compression(compression: Compression) -> dict[str, Any]:
    """All that a compression depends on beside its network."""
    outline = _content(compression.outline)
    shared = {name: outline[name] for name in outline if name not in ("trained_by", "methods")}
    return shared | {"method": _content(compression.method)}


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


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _content(model: Model) -> dict[str, Any]:
    content: dict[str, Any] = _plain(model.model_dump(mode="json", serialize_as_any=True))
    return content


def _plain(value: Any) -> Any:
    """`value` with one spelling for every number."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
