"""The baseline: a small sorted JSON file, meant to be committed and reviewed.

It holds the outcomes of every cell, and of the clock nothing but ratios: an iteration in Adam's on the same data set,
or, for Adam itself, in the reference workload's. It names the class of host that measured it, no host.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from suite.errors import SuiteError
from suite.gate.outcomes import Outcome
from suite.spec.schema import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from suite.cell import Cell

FORMAT = 1
"""Of the file."""

Key = tuple[str, str, int]
"""Data set, optimizer, seed: the order of the file."""


def key_of(cell: Cell) -> Key:
    """Where a cell stands in the file."""
    return cell.dataset, cell.optimizer, cell.seed


class Ratio(NamedTuple):
    """Seconds of an iteration in those of something that was timed in the same rounds."""

    unit: str  # "adam" or "reference"
    value: float
    deviation: float  # standard deviation of its logarithm, from the bootstrap over rounds


@dataclass(frozen=True)
class Environment:
    """What two measurements have to agree in, and the class of host."""

    torch: str
    threads: int | None  # None: not known, as of a store
    host_class: Mapping[str, str]
    spec: str  # its name
    version: int = VERSION  # of the spec language

    def obstacles(self, here: Environment, where: str = "in the baseline") -> list[str]:
        """What forbids any comparison with measurements made `here`; `where` says of whom this environment is."""
        return [
            f"{what}: {before} {where}, {now} here"
            for what, before, now in (
                ("spec", self.spec, here.spec),
                ("spec version", self.version, here.version),
                ("torch", self.torch, here.torch),
                ("threads", self.threads, here.threads),
            )
            if before != now and before is not None
        ]

    def other_class(self, here: Environment) -> list[str]:
        """Where the class of host differs: deterministic measures may differ by rounding, and times altogether."""
        names = sorted({*self.host_class, *here.host_class})
        return [
            f"host class ({name}): {self.host_class.get(name, 'unknown')} in the baseline, "
            f"{here.host_class.get(name, 'unknown')} here"
            for name in names
            if self.host_class.get(name) != here.host_class.get(name)
        ]


@dataclass(frozen=True)
class Baseline:
    """What a gate holds the present sources against.

    Args:
        environment: it was measured in.
        outcomes: by cell.
        keys: the content key of each of these cells: another definition is another cell.
        clock: by data set and optimizer.

    """

    environment: Environment
    outcomes: Mapping[Key, Outcome]
    keys: Mapping[Key, str]
    clock: Mapping[tuple[str, str], Ratio] = field(default_factory=dict)

    def only(self, cells: Iterable[Cell]) -> Baseline:
        """Without the outcomes of other cells."""
        chosen = {key_of(cell) for cell in cells}
        return replace(self, outcomes={key: outcome for key, outcome in self.outcomes.items() if key in chosen})

    def text(self) -> str:
        """The file: sorted, a line for each list of numbers."""
        cells: dict[str, Any] = {}
        for key, outcome in self.outcomes.items():
            dataset, optimizer, seed = key
            entry = {"key": self.keys[key], **outcome.plain()}
            cells.setdefault(dataset, {}).setdefault(optimizer, {})[str(seed)] = entry
        clock: dict[str, Any] = {}
        for (dataset, optimizer), ratio in self.clock.items():
            value, deviation = (float(f"{number:.4g}") for number in (ratio.value, ratio.deviation))
            entry = {"in": ratio.unit, "ratio": value, "deviation": deviation}
            clock.setdefault(dataset, {})[optimizer] = entry
        known = self.environment
        content = {
            "format": FORMAT,
            "spec": {"name": known.spec, "version": known.version},
            "environment": {"torch": known.torch, "threads": known.threads, "host_class": dict(known.host_class)},
            "cells": cells,
            "clock": clock,
        }
        text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False)
        lists = re.compile(r"\[\s+([^\[\]{}]*?)\s+\]")
        return lists.sub(lambda found: "[" + " ".join(found[1].split()) + "]", text) + "\n"

    def write(self, path: Path) -> None:
        """Write the file.

        Raises:
            SuiteError: it cannot be written.

        """
        try:
            path.write_text(self.text(), encoding="utf-8")
        except OSError as error:
            raise SuiteError(f"--baseline {path}: cannot be written ({error.strerror})") from None


def read_baseline(path: Path) -> Baseline:
    """The baseline in a file.

    Raises:
        SuiteError: there is none, or it is not one.

    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SuiteError(f"--baseline {path}: no such file; the same command with --update writes it") from None
    except (OSError, ValueError) as error:
        raise SuiteError(f"--baseline {path}: cannot be read as JSON ({error})") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise SuiteError(
            f"--baseline {path}: not a baseline of format {FORMAT}; the same command with --update writes it anew"
        )
    try:
        return _baseline(data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        wrong = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise SuiteError(f"--baseline {path}: damaged: {wrong}; --update writes it anew") from None


def _baseline(data: Mapping[str, Any]) -> Baseline:
    known = data["environment"]
    environment = Environment(
        torch=str(known["torch"]),
        threads=int(known["threads"]),
        host_class={str(name): str(value) for name, value in known["host_class"].items()},
        spec=str(data["spec"]["name"]),
        version=int(data["spec"]["version"]),
    )
    entries = dict(_entries(data["cells"]))
    clock = {
        (dataset, optimizer): Ratio(str(entry["in"]), float(entry["ratio"]), float(entry["deviation"]))
        for dataset, optimizers in data["clock"].items()
        for optimizer, entry in optimizers.items()
    }
    if any(not ratio.value > 0 for ratio in clock.values()):
        raise ValueError("a ratio of times must be above 0")
    outcomes = {key: Outcome.read(entry) for key, entry in entries.items()}
    return Baseline(environment, outcomes, {key: str(entry["key"]) for key, entry in entries.items()}, clock)


def _entries(cells: Mapping[str, Any]) -> Iterator[tuple[Key, Mapping[str, Any]]]:
    for dataset, optimizers in cells.items():
        for optimizer, seeds in optimizers.items():
            for seed, entry in seeds.items():
                yield (dataset, optimizer, int(seed)), entry
