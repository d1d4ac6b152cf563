"""What one cell is: a training run, and the key that identifies it by its content, never by its labels."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from suite.spec.labels import labelled

if TYPE_CHECKING:
    from suite.methods import Method
    from suite.model import Model
    from suite.problems import ProblemSpec
    from suite.spec.budget import Budget
    from suite.spec.compression import Compression
    from suite.spec.schema import Measure


@dataclass(frozen=True)
class Recipe:
    """All that a training run depends on but its seed; the cells of a recipe share this object."""

    method: Method
    problem: ProblemSpec
    budget: Budget
    measure: Measure
    compression: Compression | None = None

    @cached_property
    def definition(self) -> dict[str, Any]:
        """The same as plain JSON values; whole numbers are integers (1.0 is 1)."""
        sources = {"method": self.method.sources, "problem": self.problem.sources}
        from_outside = {part: digest for part, digest in sources.items() if digest is not None}
        return {
            **({"sources": from_outside} if from_outside else {}),
            "method": _method(self.method),
            "problem": _content(self.problem),
            "budget": _content(self.budget),
            "measure": _content(self.measure),
            **({} if self.compression is None else {"compression": _compression(self.compression)}),
        }

    @cached_property
    def key(self) -> str:
        """First 16 hex digits of the SHA-256 of the definition's canonical JSON."""
        return _digest(self._canonical)

    def key_of(self, seed: int) -> str:
        """The key of the run from that seed: the same of the definition with its seed."""
        return _digest({**self._canonical, "seed": str(seed)})

    @cached_property
    def _canonical(self) -> dict[str, str]:
        """The parts of the definition as canonical JSON: a hundred thousand cells may share them."""
        return {
            name: json.dumps(part, sort_keys=True, separators=(",", ":"), allow_nan=False)
            for name, part in self.definition.items()
        }


@dataclass(frozen=True)
class Cell:
    """One training run of a benchmark: an optimizer on a data set from a seed; and what becomes of its network."""

    optimizer: str  # labels in the spec
    dataset: str
    seed: int
    recipe: Recipe

    def changed(self, **parts: Any) -> Cell:
        """The same cell with other parts of its recipe."""
        return replace(self, recipe=replace(self.recipe, **parts))

    @property
    def method(self) -> Method:
        """The optimizer's options."""
        return self.recipe.method

    @property
    def problem(self) -> ProblemSpec:
        """What is trained on what."""
        return self.recipe.problem

    @property
    def budget(self) -> Budget:
        """How long it may train."""
        return self.recipe.budget

    @property
    def measure(self) -> Measure:
        """What is recorded beside the loss of every iteration."""
        return self.recipe.measure

    @property
    def compression(self) -> Compression | None:
        """How its network is made smaller, if it is."""
        return self.recipe.compression

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

    @property
    def definition(self) -> dict[str, Any]:
        """All that the run depends on, as plain JSON values."""
        return {**self.recipe.definition, "seed": self.seed}

    @cached_property
    def key(self) -> str:
        """First 16 hex digits of the SHA-256 of the definition's canonical JSON."""
        return self.recipe.key_of(self.seed)

    @property
    def group_key(self) -> str:
        """The same of the definition without its seed: what a cell's duration depends on."""
        return self.recipe.key


def _digest(parts: dict[str, str]) -> str:
    """Of the JSON object with these values, its names sorted."""
    text = "{" + ",".join(f'"{name}":{parts[name]}' for name in sorted(parts)) + "}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _method(method: Method) -> dict[str, Any]:
    """An option that came later counts only where it is not at its default: keys from before stay."""
    content = _content(method)
    for name in method.newer:
        if getattr(method, name) == type(method).model_fields[name].default:
            del content[name]
    return content


def _compression(compression: Compression) -> dict[str, Any]:
    """All that a compression depends on beside its network."""
    outline = _content(compression.outline)
    shared = {name: outline[name] for name in outline if name not in ("trained_by", "methods")}
    return shared | {"method": _content(compression.method)}


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
