"""What networks lose when they are made smaller: the losses of each data set and kind of method."""

from __future__ import annotations

from typing import TYPE_CHECKING

from suite.report.model import Kind, Smaller
from suite.store import queries

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from suite.cell import Cell
    from suite.methods.compression import Compressor
    from suite.store import RunRow, Store


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
