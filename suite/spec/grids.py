"""Grids of options: a list in place of a value stands for one optimizer per item."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Combination(NamedTuple):
    """One choice from every list of a grid."""

    suffix: str  # "[lr=0.1,damping=0.3]"; empty where there is no list
    values: dict[str, Any]
    chosen: dict[str, int]  # for every list, the index of the item chosen


def axes(options: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The options that are lists, in the order of `options`."""
    return {name: value for name, value in options.items() if isinstance(value, list)}


def size(options: Mapping[str, Any]) -> int:
    """How many combinations there are; found without making them."""
    return math.prod(len(values) for values in axes(options).values())


def combinations(options: Mapping[str, Any]) -> Iterator[Combination]:
    """All combinations, the last list varying fastest."""
    lists = axes(options)
    for indices in itertools.product(*(range(len(values)) for values in lists.values())):
        chosen = dict(zip(lists, indices, strict=True))
        picked = {name: lists[name][index] for name, index in chosen.items()}
        yield Combination(suffix(picked), {**options, **picked}, chosen)


def suffix(picked: Mapping[str, Any]) -> str:
    """What a choice of options adds to a label: "[lr=0.1,damping=0.3]"; nothing where there is none."""
    parts = ",".join(f"{name}={spelled(value)}" for name, value in picked.items())
    return f"[{parts}]" if parts else ""


def spelled(value: object) -> str:
    """A value as a label shows it: `0.1`, `1e-5`, `3` for 3.0, `true`, `null`, or the text itself."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        whole = value.is_integer() and abs(value) < 1e16
        return str(int(value)) if whole else repr(value).replace("e-0", "e-")
    return str(value)


def base_label(label: str) -> str:
    """The label in the file from which a grid made `label`: `kpsvd` of `kpsvd[lr=0.1]`."""
    return label.partition("[")[0]


def same_label(given: str, label: str) -> bool:
    """Whether `given` names the optimizer `label`, itself or the whole grid that it belongs to."""
    return given in (label, base_label(label))
