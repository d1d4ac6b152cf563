"""What networks lose when they are made smaller: the losses of each data set and kind of method."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from suite.store import queries

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from suite.compression.methods import Compressor
    from suite.matrix import Cell
    from suite.records import Compressed
    from suite.store import RunRow, Store

LOSSES = {"training": "train_loss", "test": "test_loss"}


class Smaller(NamedTuple):
    """A measured cell, and what its network was compressed to."""

    cell: Cell
    run: RunRow
    rows: list[Compressed]

    @property
    def label(self) -> str:
        """The method's, in the spec."""
        assert self.cell.compression is not None
        return self.cell.compression.label


@dataclass(frozen=True, eq=False)
class Kind:
    """The methods of one kind on the networks of one data set."""

    dataset: str
    name: str  # "elements", "rows", "columns" or "low rank", and of which layers where not of all
    trained_by: str
    floor: float | None
    results: list[Smaller]

    @property
    def methods(self) -> dict[str, Compressor]:
        """Label → method, in the order of the spec."""
        found = {}
        for result in self.results:
            assert result.cell.compression is not None
            found[result.label] = result.cell.compression.method
        return found

    @property
    def ratios(self) -> list[float]:
        """Those of any result, the largest first."""
        return sorted({row.ratio for result in self.results for row in result.rows}, reverse=True)

    @property
    def moments(self) -> list[int]:
        """Iterations of fine-tuning at which losses were measured: 0, and the end."""
        return sorted({row.iteration for result in self.results for row in result.rows})

    def losses(self, label: str, ratio: float, iteration: int, what: str) -> dict[int, float]:
        """Seed → loss; infinite where it is no number."""
        return {
            result.cell.seed: value if math.isfinite(value) else math.inf
            for result in self.results
            if result.label == label
            for row in result.rows
            if (row.ratio, row.iteration) == (ratio, iteration)
            for value in [float(getattr(row, what))]
        }

    def parameters(self, label: str, ratio: float) -> int | None:
        """What is left of the whole network; None where it was not measured."""
        rows = (row for result in self.results if result.label == label for row in result.rows)
        return next((row.parameters for row in rows if row.ratio == ratio), None)


def kinds(store: Store, cells: Iterable[Cell], measured: Mapping[str, RunRow]) -> list[Kind]:
    """What the measured compressions among `cells` are, data set by data set."""
    groups: dict[tuple[str, str], list[Smaller]] = {}
    for cell in cells:
        if cell.compression is not None and cell.key in measured:
            run = measured[cell.key]
            if rows := queries.compressions(store, run.id):
                result = Smaller(cell, run, rows)
                groups.setdefault((cell.dataset, _kind(cell.compression.method)), []).append(result)
    return [
        Kind(dataset, name, results[0].cell.optimizer, results[0].run.floor, results)
        for (dataset, name), results in groups.items()
    ]


def _kind(method: Compressor) -> str:
    structure = getattr(method, "structure", None)
    if structure is None:
        return "low rank"
    whole = sorted(set(getattr(method, "exclude", [])))
    return f"{structure}s of all but the {' and '.join(whole)} layer" if whole else f"{structure}s"


def partners(kind: Kind) -> list[tuple[str, str]]:
    """Pairs of methods that are alike but for their approximation, against KFAC."""
    plain = {label: method.model_dump(exclude={"approximation"}) for label, method in kind.methods.items()}
    fits = {label: getattr(method, "approximation", None) for label, method in kind.methods.items()}
    return [
        (label, other)
        for label in plain
        for other in plain
        if plain[label] == plain[other] and fits[other] == "kfac" != fits[label]
    ]


def baselines(kind: Kind) -> list[tuple[str, str]]:
    """Every other method against the one that looks at no curvature."""
    found = [label for label, method in kind.methods.items() if method.method in ("magnitude", "svd")]
    return [(label, found[0]) for label in kind.methods if found and label != found[0]]


def moment(iteration: int) -> str:
    """When a loss was measured, in words."""
    return "before fine-tuning" if iteration == 0 else f"after {iteration:,} iterations of fine-tuning"


def picture(kind: Kind) -> str:
    """The name of its figure."""
    return f"compression-{kind.name.replace(' ', '-')}"
