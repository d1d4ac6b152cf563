"""What a spec file may say: its keys and the kinds of their values, before names and grids are looked into."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from kfsvd.approximations import APPROXIMATIONS
from suite.errors import did_you_mean, shown
from suite.model import Model
from suite.spec.budget import Budget, Scheduling, Seed
from suite.spec.compression import CompressionOutline
from suite.spec.grids import same_label
from suite.spec.labels import Label
from suite.spec.tuning import TuningOutline

VERSION = 1  # of the language


def _approximation(name: str) -> str:
    if name not in APPROXIMATIONS:
        raise ValueError(f"unknown value {shown(name)}{did_you_mean(name, APPROXIMATIONS)}")
    return name


Approximation = Annotated[str, AfterValidator(_approximation)]
"""A name of `kfsvd.APPROXIMATIONS`."""


class Measure(Model):
    """What is recorded beside the loss of every iteration; the training clock stands still meanwhile."""

    loss_every: int = Field(default=50, ge=1, description="iterations between evaluations of both sets")
    evaluation_examples: int | None = Field(
        default=None, ge=1, description="examples of each set, at most; all if not given"
    )
    fisher_every: int | None = Field(
        default=None, ge=1, description="iterations between Fisher errors; never if not given"
    )
    fisher_samples: int = Field(default=256, ge=1, description="held-out examples of a Fisher error")
    fisher_approximations: Annotated[tuple[Approximation, ...], Field(strict=False)] = Field(
        default=(),
        description="approximations to fit, whatever the optimizer, to one and the same batch of training examples",
    )
    fisher_batch: float = Field(
        default=0.25,
        gt=0,
        description="examples that they are fitted to: a share of the batch up to 1, else a number",
    )

    @field_validator("fisher_approximations")
    @classmethod
    def _at_intervals(cls, names: tuple[Approximation, ...], given: ValidationInfo) -> tuple[Approximation, ...]:
        if names and given.data.get("fisher_every", 1) is None:
            raise ValueError("needs fisher_every: the iterations between the measurements")
        return names

    def fisher_examples(self, batch_size: int) -> int:
        """How many examples `fisher_batch` is, of a data set with that batch size."""
        share = self.fisher_batch * batch_size if self.fisher_batch <= 1 else self.fisher_batch
        return max(1, round(share))


class BestOf(Model):
    """The lowest final training loss, mean over seeds, of the optimizers of that label or method on the data set."""

    best_of: str = Field(description="an optimizer of the spec, or a method")

    @property
    def names(self) -> list[tuple[tuple[str | int, ...], str]]:
        """The optimizers or methods that it speaks of, each with the keys that lead there."""
        return [(("best_of",), self.best_of)]


def _kind_of_reference(value: object) -> str:
    if isinstance(value, (dict, BestOf)):
        return "BestOf"
    return "a name" if isinstance(value, str) else "a number"  # tags: never keys of a mapping, see `faults_of`


_Loss = Annotated[float, Field(gt=0), Tag("a number")]
_Reference = Annotated[
    _Loss | Annotated[Literal["start", "floor"], Tag("a name")] | Annotated[BestOf, Tag("BestOf")],
    Discriminator(_kind_of_reference),
]


class Between(Model):
    """A loss between two references, of which `start` is the loss at iteration 0 and `floor` the entropy floor."""

    fraction: float = Field(gt=0, le=1, description="how far: 1 is the second reference itself")
    between: Annotated[tuple[_Reference, _Reference], Field(strict=False)] = Field(
        description="two of: a number, start, floor, {best_of: …}"
    )

    @property
    def names(self) -> list[tuple[tuple[str | int, ...], str]]:
        """The same of its references."""
        return [
            (("between", place, *path), name)
            for place, reference in enumerate(self.between)
            if isinstance(reference, BestOf)
            for path, name in reference.names
        ]


def _kind_of_target(value: object) -> str:
    if isinstance(value, (Between, BestOf)):
        return type(value).__name__
    if isinstance(value, dict):
        return "Between" if {"fraction", "between"} & value.keys() else "BestOf"
    return "a number"


Target = float | BestOf | Between
"""An evaluation training loss to reach, in nats per example, or how it follows from what is measured."""


class Exclusion(Model):
    """Cells to leave out: those that match every key that is given."""

    optimizer: str | None = None
    dataset: str | None = None
    seed: int | None = None

    @model_validator(mode="after")
    def _something(self) -> Exclusion:
        if self.optimizer is None and self.dataset is None and self.seed is None:
            raise ValueError("needs at least one of optimizer, dataset and seed")
        return self

    def matches(self, optimizer: str, dataset: str, seed: int) -> bool:
        """Whether the cell of these labels is left out."""
        return (
            (self.optimizer is None or same_label(self.optimizer, optimizer))
            and self.dataset in (None, dataset)
            and self.seed in (None, seed)
        )


class PublishedOutline(Model):
    """Published training curves, which a report draws beside those that are measured."""

    file: str = Field(description="curves that come with the suite, by name; or a path beside the spec, .yaml")
    band: float = Field(default=0.05, gt=0, description="a relative difference within which a loss is as published")
    optimizers: dict[str, str] = Field(default_factory=dict, description="optimizer: whose curve, where names differ")
    datasets: dict[str, str] = Field(default_factory=dict, description="data set: the same")


class AblationOutline(Model):
    """Optimizers that differ in one thing, for a section of the report."""

    name: str = Field(min_length=1, description="what they differ in; the section's heading")
    question: str = Field(default="", description="what is to be found out")
    optimizers: list[str] = Field(min_length=1, description="labels; one of a grid stands for all of the grid")
    baseline: str | None = Field(default=None, description="which the others are held against; the first by default")

    @model_validator(mode="after")
    def _baseline_is_among_them(self) -> AblationOutline:
        if self.baseline is not None and not any(same_label(name, self.baseline) for name in self.optimizers):
            raise ValueError(f"the baseline {shown(self.baseline)} is not among the optimizers; add it to them")
        return self


def _known_version(version: int) -> int:
    if version != VERSION:
        raise ValueError(f"this program reads version {VERSION} of specs, not {version}")
    return version


def _spec_name(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,63}", name):
        raise ValueError(f"must be lower-case letters, digits and hyphens, at most 64, not {shown(name)}")
    return name


def _as_list(value: object) -> object:
    return value if isinstance(value, list) or value is None else [value]


_Target = Annotated[
    _Loss | Annotated[BestOf, Tag("BestOf")] | Annotated[Between, Tag("Between")], Discriminator(_kind_of_target)
]
_Targets = Annotated[list[_Target], BeforeValidator(_as_list), Field(min_length=1)]


class Defaults(Model):
    """Options for every optimizer and every data set that does not give its own."""

    optimizers: dict[str, Any] = Field(default_factory=dict)
    datasets: dict[str, Any] = Field(default_factory=dict)


class Outline(Model):
    """A whole file; what an optimizer or a data set holds is looked into later."""

    version: Annotated[int, AfterValidator(_known_version)]
    name: Annotated[str, AfterValidator(_spec_name)]
    description: str = ""
    optimizers: dict[Label, dict[str, Any]] = Field(min_length=1)
    datasets: dict[Label, dict[str, Any]] = Field(min_length=1)
    overrides: dict[str, dict[str, dict[str, Any]]] = Field(default_factory=dict)
    seeds: list[Seed] = Field(min_length=1)
    budget: Budget
    budgets: dict[str, Budget] = Field(default_factory=dict)
    targets: dict[str, _Targets] = Field(default_factory=dict)
    measure: Measure = Measure()
    tuning: TuningOutline | None = None
    compression: CompressionOutline | None = None
    scheduling: Scheduling = Scheduling()
    exclude: list[Exclusion] = Field(default_factory=list)
    published: PublishedOutline | None = None
    ablations: list[AblationOutline] = Field(default_factory=list)
    defaults: Defaults = Defaults()
