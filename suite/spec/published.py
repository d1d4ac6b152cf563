"""Training curves that others published, from a file: what a report draws beside what it measured.

A file has the published losses as they were printed, and says how many nats per example a loss of 1 is. Files of this
folder are named by a specification without their ending; any other by its path beside the specification.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

from pydantic import Field, ValidationError

from suite.errors import did_you_mean, shown
from suite.model import Model
from suite.spec import yaml
from suite.spec.faults import Fault, KeyPath, SpecError, faults_of
from suite.spec.grids import base_label

if TYPE_CHECKING:
    from collections.abc import Iterable

    from suite.spec.schema import PublishedOutline

_FOLDER = Path(__file__).parent / "curves"
_ENDINGS = (".yaml", ".yml")

_Losses = Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)]


class _Data(Model):
    nats: float = Field(gt=0, description="an example's loss in nats where the published loss is 1")
    losses: dict[str, _Losses] = Field(min_length=1, description="optimizer: losses of epochs 1, 2, …")


class _File(Model):
    label: str
    source: str
    note: str = ""
    datasets: dict[str, _Data] = Field(min_length=1)


class PublishedCurve(NamedTuple):
    """What was published of an optimizer on a data set."""

    optimizer: str  # its name there
    dataset: str
    losses: tuple[float, ...]  # of epochs 1, 2, …, nats per example


@dataclass(frozen=True)
class Published:
    """The published curves that belong to a specification's optimizers and data sets."""

    label: str
    source: str
    note: str
    band: float  # of the relative difference
    curves: dict[tuple[str, str], PublishedCurve]  # (data set, optimizer) of the specification → its curve


def shipped() -> list[str]:
    """The names of the files that come with the suite."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def published(
    given: PublishedOutline, beside: Path, optimizers: Iterable[str], datasets: Iterable[str]
) -> tuple[Published | None, list[Fault]]:
    """The curves that a specification names, and what is wrong with what it says of them.

    Args:
        given: the specification's `published`.
        beside: the folder of the specification, which a path starts from.
        optimizers: labels of the specification, a grid's in full.
        datasets: labels of its data sets.

    """
    try:
        content = _read(given.file, beside)
    except SpecError as error:
        return None, [Fault(("published", "file"), line) for line in error.faults]
    named = list(dict.fromkeys(name for data in content.datasets.values() for name in data.losses))
    faults = [
        *_unknown(("published", "datasets"), given.datasets, content.datasets, f"data set of {given.file}"),
        *_unknown(("published", "optimizers"), given.optimizers, named, f"optimizer of {given.file}"),
    ]
    curves = {}
    for dataset in datasets:
        there = given.datasets.get(dataset, dataset)
        data = content.datasets.get(there)
        for optimizer in optimizers if data is not None else ():
            own = given.optimizers.get(optimizer, given.optimizers.get(base_label(optimizer), base_label(optimizer)))
            if data is not None and own in data.losses:
                losses = tuple(data.nats * loss for loss in data.losses[own])
                curves[dataset, optimizer] = PublishedCurve(own, there, losses)
    return Published(content.label, content.source, content.note, given.band, curves), faults


def _read(name: str, beside: Path) -> _File:
    """The file of that name.

    Raises:
        SpecError: there is none, or it does not hold such curves.

    """
    if not name.endswith(_ENDINGS):
        if name not in shipped():
            known = did_you_mean(name, shipped())
            raise SpecError([f"no curves of the name {shown(name)} come with the suite{known}; a path ends in .yaml"])
        path = _FOLDER / f"{name}.yaml"
    else:
        path = beside / name
    document = yaml.read(path)
    if document.faults:
        raise SpecError(document.located(fault) for fault in document.faults)
    if not isinstance(document.data, dict):
        raise SpecError([f"{path}:1: published curves must be a mapping of label, source and datasets"])
    try:
        return _File.model_validate(document.data)
    except ValidationError as error:
        found = faults_of(error, document.data, _File)
        raise SpecError(dict.fromkeys(document.located(fault) for fault in found)) from None


def _unknown(path: KeyPath, given: dict[str, str], known: Iterable[str], what: str) -> list[Fault]:
    names = list(known)
    return [
        Fault((*path, ours), f"no {what} is called {shown(theirs)}{did_you_mean(theirs, names)}")
        for ours, theirs in given.items()
        if theirs not in names
    ]
