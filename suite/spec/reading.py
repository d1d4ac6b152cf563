"""A benchmark's specification, read from a YAML file with every fault of the file at once.

`load_spec` is the way in. Grids, defaults and overrides are resolved here, so that a `Spec` holds plain
methods and problems under their final labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from suite import plugins
from suite.errors import did_you_mean, shown
from suite.methods import METHODS, Method, method_named
from suite.problems import DATASETS, NETWORKS, ProblemSpec
from suite.problems.data import dataset as dataset_named
from suite.problems.networks import network_kind
from suite.problems.spec import problem_with
from suite.spec import yaml
from suite.spec.ablations import Ablation, ablation
from suite.spec.budget import Budget, Scheduling
from suite.spec.entries import Entry
from suite.spec.faults import Fault, KeyPath, SpecError, faults_of
from suite.spec.grids import axes, base_label, combinations, same_label, size
from suite.spec.names import Kind, fault_of_name
from suite.spec.published import Published, published
from suite.spec.schema import Exclusion, Measure, Outline, Target
from suite.spec.tuning import Tuning
from suite.spec.tuning_spaces import faults_of_values, first_values, spaces_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from pydantic import BaseModel

    from suite.spec.compression import CompressionOutline

MOST_CELLS = 100_000

METHOD = Kind("method", METHODS, plugins.OPTIMIZERS)
DATA = Kind("data set", DATASETS, plugins.DATASETS)
NETWORK = Kind("kind of network", NETWORKS, plugins.NETWORKS)

__all__ = ["Budget", "Exclusion", "Measure", "Spec", "SpecError", "base_label", "load_spec", "same_label"]


@dataclass(frozen=True)
class Spec:
    """A valid specification, grids expanded and defaults applied."""

    name: str
    description: str
    optimizers: dict[str, Method]
    datasets: dict[str, ProblemSpec]
    overrides: dict[str, dict[str, Method]]  # data set → optimizer → the method that it is there
    seeds: tuple[int, ...]
    budget: Budget
    budgets: dict[str, Budget]  # data set → the one that it has in the place of `budget`
    measure: Measure
    targets: dict[str, tuple[Target, ...]]  # data set → evaluation training losses to reach, nats per example
    tuning: Tuning | None
    compression: CompressionOutline | None
    scheduling: Scheduling
    exclude: tuple[Exclusion, ...]
    published: Published | None  # what a report says alone, as of ablations: no cell depends on it
    ablations: tuple[Ablation, ...]
    warnings: list[str]
    document: yaml.Document

    @property
    def path(self) -> Path:
        """The file that it was read from."""
        return self.document.path

    @property
    def text(self) -> str:
        """The file's content."""
        return self.document.text

    def method(self, optimizer: str, dataset: str) -> Method:
        """The method of a cell: the optimizer's own, or what `overrides` makes of it on that data set."""
        return self.overrides.get(dataset, {}).get(optimizer, self.optimizers[optimizer])

    def budget_of(self, dataset: str) -> Budget:
        """How long a cell of that data set may train."""
        return self.budgets.get(dataset, self.budget)

    def tuned(self, optimizer: str, dataset: str, setting: Mapping[str, Any]) -> Method:
        """The same with some options at other values.

        Raises:
            ValueError: a value that the method does not take.
        """
        method = self.method(optimizer, dataset)
        return type(method).model_validate({**method.model_dump(), **setting})


def load_spec(path: Path, *, allow_import: bool = False) -> Spec:
    """The specification in the YAML file `path`.

    Args:
        path: the file.
        allow_import: whether import paths in it are imported, which runs the code that they lead to.

    Raises:
        SpecError: with one line for each fault of the file.
    """
    return _Reading(yaml.read(path), allow_import=allow_import).spec()


class _Reading:
    """One pass over a document, which notes every fault on its way."""

    def __init__(self, document: yaml.Document, *, allow_import: bool) -> None:
        self._document, self._allow_import = document, allow_import
        self._data: dict[str, Any] = document.data if isinstance(document.data, dict) else {}
        self._faults: list[Fault] = list(document.faults)
        self._warnings: list[Fault] = []

    def spec(self) -> Spec:
        """The specification, or all that is wrong with it."""
        outline = self._outline()
        self._lists_differ()
        entries = self._optimizers()
        self._defaults_exist(entries)
        tuning, entries = self._tuning(outline, entries)
        datasets = self._datasets()
        self._compressible(outline)
        optimizers: dict[str, Method] = {}
        overrides: dict[str, dict[str, Method]] = {}
        if self._few_enough(entries):
            optimizers = {name: method for entry in entries.values() for name, method in self._methods(entry)}
            overrides = self._overrides(entries)
        beside = self._published(outline, optimizers, datasets)
        if self._faults or outline is None:
            raise SpecError(self._lines(self._faults))
        self._names_exist(outline, optimizers)
        return Spec(
            name=outline.name,
            description=outline.description,
            optimizers=optimizers,
            datasets=datasets,
            overrides=overrides,
            seeds=tuple(outline.seeds),
            budget=outline.budget,
            budgets=outline.budgets,
            measure=outline.measure,
            targets={label: tuple(values) for label, values in outline.targets.items()},
            tuning=tuning,
            compression=outline.compression,
            scheduling=outline.scheduling,
            exclude=tuple(outline.exclude),
            published=beside,
            ablations=self._ablations(outline, optimizers),
            warnings=self._lines(self._warnings),
            document=self._document,
        )

    def _lines(self, faults: Iterable[Fault]) -> list[str]:
        """Each fault once, in the order of the file."""

        def place(fault: Fault) -> tuple[int, int]:
            line, column = self._document.position(fault.path)
            return fault.line or line, column

        return list(dict.fromkeys(self._document.located(fault) for fault in sorted(faults, key=place)))

    def _fault(self, path: KeyPath, text: str) -> None:
        self._faults.append(Fault(path, text))

    def _mapping(self, *path: str) -> dict[str, Any]:
        """The mapping at `path`; empty where there is none, which the outline has noted."""
        data: Any = self._data
        for step in path:
            data = data.get(step) if isinstance(data, dict) else None
        return data if isinstance(data, dict) else {}

    def _outline(self) -> Outline | None:
        data = self._document.data
        if data is None and self._faults:  # an empty file: said already
            return None
        if not isinstance(data, dict):
            self._fault((), f"a spec must be a mapping of keys such as version and name, not {shown(data)}")
            return None
        try:
            return Outline.model_validate(data)
        except ValidationError as error:
            self._faults += faults_of(error, data, Outline)
            return None

    def _lists_differ(self) -> None:
        for path in (("seeds",), ("measure", "fisher_approximations"), ("tuning", "seeds")):
            self._items_differ(self._mapping(*path[:-1]).get(path[-1]), path)

    def _items_differ(self, items: object, path: KeyPath) -> None:
        seen: set[tuple[bool, Any]] = set()
        for index, item in enumerate(items if isinstance(items, list) else []):
            if isinstance(item, (list, dict)):
                continue  # no value at all, which is noted elsewhere
            if (isinstance(item, bool), item) in seen:
                self._fault((*path, index), f"{shown(item)} is listed twice")
            seen.add((isinstance(item, bool), item))

    def _defaults_exist(self, entries: Mapping[str, Entry]) -> None:
        models = [*METHODS.values(), *(entry.model for entry in entries.values())]
        known = {
            "optimizers": [name for model in models for name in model.model_fields if name != "method"],
            "datasets": list(ProblemSpec.model_fields),
        }
        for part, names in known.items():
            for name in self._mapping("defaults", part):
                if name not in names:
                    self._fault(("defaults", part, name), f"unknown option{did_you_mean(name, names)}")

    def _entry(self, part: str, label: str, given: dict[str, Any], model: type[BaseModel]) -> Entry:
        defaults = {
            name: value
            for name, value in self._mapping("defaults", part).items()
            if name in model.model_fields and name != "method"
        }
        entry = Entry((part, label), model, {}, {})
        return entry.replaced(("defaults", part), defaults).replaced((part, label), given)

    def _optimizers(self) -> dict[str, Entry]:
        entries = {}
        for label, given in self._mapping("optimizers").items():
            if not isinstance(given, dict):
                continue
            method, unread = given.get("method"), Entry(("optimizers", label), Method, {}, {})
            if not self._known(unread, ("method",), method, METHOD, method_named):
                continue
            entry = self._entry("optimizers", label, given, method_named(str(method)))
            order = [*entry.model.model_fields, *entry.values]
            entry = entry._replace(values={name: entry.values[name] for name in order if name in entry.values})
            for name, values in axes(entry.values).items():
                self._items_differ(values, entry.origins[name])
                if not values:
                    self._fault(entry.origins[name], "an empty list: no value to try")
            entries[label] = entry
        return entries

    def _tuning(self, outline: Outline | None, entries: dict[str, Entry]) -> tuple[Tuning | None, dict[str, Entry]]:
        """The spaces of the spec, and its optimizers with one setting of them standing in."""
        if outline is None or outline.tuning is None:
            return None, entries
        spaces, faults = spaces_of(outline.tuning, entries, self._mapping("overrides"), self._data.get("seeds"))
        self._faults += faults
        for label in outline.tuning.spaces:
            self._warn_unless(label in entries, ("tuning", "spaces", label), "optimizer", label, entries)
        for part in ("targets", "budgets"):
            for label in getattr(outline.tuning, part):
                path = ("tuning", part, label)
                self._warn_unless(label in outline.datasets, path, "data set", label, outline.datasets)
        if outline.tuning.rule != "final_loss":
            for label in outline.datasets:
                if label not in outline.tuning.targets:
                    self._fault(("tuning", "targets"), f"data set {label!r} has no target for {outline.tuning.rule}")
        for label, space in spaces.items():
            path = ("tuning", "spaces", label)
            stand_in = entries[label].replaced(path, first_values(space))
            self._faults += faults_of_values(stand_in, space)
            entries[label] = stand_in
        return Tuning(outline.tuning, spaces), entries

    def _compressible(self, outline: Outline | None) -> None:
        if outline is not None and outline.compression is not None and outline.budget.seconds is not None:
            text = "a network that is compressed must be the same in every cell: give iterations or epochs alone"
            self._fault(("budget", "seconds"), text)

    def _methods(self, entry: Entry) -> Iterator[tuple[str, Method]]:
        """An entry's methods under their labels; faults of their options are noted."""
        for combination in combinations(entry.values):
            try:
                method = entry.model.model_validate(combination.values)
            except ValidationError as error:
                for fault in faults_of(error, combination.values, entry.model):
                    self._faults.append(entry.located(fault, combination.chosen))
            else:
                assert isinstance(method, Method)
                yield f"{entry.path[1]}{combination.suffix}", method

    def _few_enough(self, entries: Mapping[str, Entry]) -> bool:
        """Whether the matrix is of a size to be expanded."""
        seeds = self._data.get("seeds")
        optimizers = sum(size(entry.values) for entry in entries.values())
        numbers = (optimizers, len(self._mapping("datasets")), len(seeds) if isinstance(seeds, list) else 0)
        cells = optimizers * max(numbers[1], 1) * max(numbers[2], 1)
        if cells > MOST_CELLS:
            self._fault(
                ("optimizers",),
                "{} optimizers × {} data sets × {} seeds are too many cells".format(*numbers)
                + f": at most {MOST_CELLS}",
            )
        return cells <= MOST_CELLS

    def _overrides(self, entries: Mapping[str, Entry]) -> dict[str, dict[str, Method]]:
        """What `overrides` makes of each optimizer on each data set; names that do not exist are warnings."""
        changed: dict[str, dict[str, Method]] = {}
        datasets = self._mapping("datasets")
        for dataset in self._mapping("overrides"):
            self._warn_unless(dataset in datasets, ("overrides", dataset), "data set", dataset, datasets)
            for label, options in self._mapping("overrides", dataset).items():
                path = ("overrides", dataset, label)
                self._warn_unless(label in entries, path, "optimizer", label, entries)
                if dataset not in datasets or label not in entries or not isinstance(options, dict):
                    continue
                if self._single(entries[label], path, options):
                    methods = self._methods(entries[label].replaced(path, options))
                    changed.setdefault(dataset, {}).update(methods)
        return changed

    def _single(self, entry: Entry, path: KeyPath, options: Mapping[str, Any]) -> bool:
        """Whether `options` may replace those of `entry`: one value each, none of it a grid or the method."""
        before = len(self._faults)
        for name, value in options.items():
            if name == "method":
                self._fault((*path, name), "the method itself cannot be overridden")
            elif isinstance(value, list):
                self._fault((*path, name), "must be one value, not a list")
            elif name in axes(entry.values):
                self._fault((*path, name), f"{name} is a grid of {entry.path[1]}, which an override would undo")
        return len(self._faults) == before

    def _datasets(self) -> dict[str, ProblemSpec]:
        problems = {}
        for label, given in self._mapping("datasets").items():
            if not isinstance(given, dict):
                continue
            entry = self._entry("datasets", label, given, ProblemSpec)
            values, network = entry.values, entry.values.get("network")
            misnamed = [] if self._known(entry, ("data",), values.get("data"), DATA, dataset_named) else ["data"]
            if misnamed:
                values = {**values, "data": ""}  # so that nothing follows the name
            model: type[ProblemSpec] = ProblemSpec
            if isinstance(network, dict):
                kind = network.get("kind")
                if not self._known(entry, ("network", "kind"), kind, NETWORK, network_kind):
                    misnamed.append("network")
                elif kind not in NETWORKS:
                    model = problem_with(str(kind))
            try:
                problems[label] = model.model_validate(values)
            except ValidationError as error:
                faults = faults_of(error, values, model)
                self._faults += (entry.located(f) for f in faults if not (f.path and f.path[0] in misnamed))
        return problems

    def _known(self, entry: Entry, option: KeyPath, name: object, kind: Kind, resolve: Callable[[str], object]) -> bool:
        """Whether a name leads somewhere; if not, that is noted where it stands."""
        text = fault_of_name(name, kind, resolve, allow_import=self._allow_import)
        if text is not None:
            self._faults.append(entry.located(Fault(option, text)))
        return text is None

    def _names_exist(self, outline: Outline, optimizers: Mapping[str, Method]) -> None:
        """Warn of names in budgets, targets and exclude that nothing bears: entries may have been removed."""
        datasets = outline.datasets
        for label in outline.budgets:
            self._warn_unless(label in datasets, ("budgets", label), "data set", label, datasets)
        if outline.compression is not None:
            label = outline.compression.trained_by
            self._warn_unless(label in optimizers, ("compression", "trained_by"), "optimizer", label, optimizers)
        bases = dict.fromkeys([*map(base_label, optimizers), *optimizers])
        references = dict.fromkeys([*bases, *(method.method for method in optimizers.values())])
        for label, targets in outline.targets.items():
            self._warn_unless(label in datasets, ("targets", label), "data set", label, datasets)
            several = isinstance(self._mapping("targets")[label], list)
            for index, target in enumerate(targets):
                for step, reference in [] if isinstance(target, float) else target.names:
                    where: KeyPath = ("targets", label, *((index,) if several else ()), *step)
                    self._warn_unless(reference in references, where, "optimizer or method", reference, references)
        for index, entry in enumerate(outline.exclude):
            path = ("exclude", index)
            for key, what, name, names in (
                ("optimizer", "optimizer", entry.optimizer, bases),
                ("dataset", "data set", entry.dataset, datasets),
                ("seed", "seed", entry.seed, outline.seeds),
            ):
                self._warn_unless(name is None or name in names, (*path, key), what, name, map(str, names))

    def _published(
        self, outline: Outline | None, optimizers: Iterable[str], datasets: Iterable[str]
    ) -> Published | None:
        """The published curves, where the spec names some; faults of their file are noted."""
        if outline is None or outline.published is None:
            return None
        given = outline.published
        found, faults = published(given, self._document.path.parent, optimizers, datasets)
        self._faults += faults
        bases = dict.fromkeys([*map(base_label, optimizers), *optimizers])
        for key, what, names in (("optimizers", "optimizer", bases), ("datasets", "data set", outline.datasets)):
            for name in getattr(given, key):
                self._warn_unless(name in names, ("published", key, name), what, name, names)
        return found

    def _ablations(self, outline: Outline, optimizers: Iterable[str]) -> tuple[Ablation, ...]:
        """Those that two optimizers are left of; others that are named are warnings, as they may have been removed."""
        bases = dict.fromkeys([*map(base_label, optimizers), *optimizers])
        for index, given in enumerate(outline.ablations):
            path = ("ablations", index)
            for place, name in enumerate(given.optimizers):
                self._warn_unless(name in bases, (*path, "optimizers", place), "optimizer", name, bases)
            known = given.baseline is None or given.baseline in bases
            self._warn_unless(known, (*path, "baseline"), "optimizer", given.baseline, bases)
        found = (ablation(given, optimizers) for given in outline.ablations)
        return tuple(each for each in found if each is not None)

    def _warn_unless(self, known: bool, path: KeyPath, what: str, name: object, names: Iterable[str]) -> None:
        if not known:
            text = f"no {what} is called {shown(name)}{did_you_mean(str(name), names)}"
            self._warnings.append(Fault(path, text))
