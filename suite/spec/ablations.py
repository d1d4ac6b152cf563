"""Ablations: optimizers of a specification that differ in one thing, told about together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from suite.spec.grids import same_label

if TYPE_CHECKING:
    from collections.abc import Iterable

    from suite.spec.schema import AblationOutline


@dataclass(frozen=True)
class Ablation:
    """Optimizers held against one of them."""

    name: str
    question: str
    optimizers: tuple[str, ...]  # labels, the baseline's first
    baseline: str


def ablation(given: AblationOutline, optimizers: Iterable[str]) -> Ablation | None:
    """The ablation with a grid's labels in its place; None where not two optimizers, or no baseline, are left.

    Args:
        given: what the specification says.
        optimizers: all labels of the specification.

    """
    labels = list(dict.fromkeys(o for name in given.optimizers for o in optimizers if same_label(name, o)))
    baseline = next((label for label in labels if same_label(given.baseline or label, label)), None)
    if baseline is None or len(labels) < 2:
        return None
    return Ablation(given.name, given.question, (baseline, *(label for label in labels if label != baseline)), baseline)
