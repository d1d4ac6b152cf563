"""The spaces of a spec's `tuning:`, held against the optimizers that they belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from suite.errors import did_you_mean, shown
from suite.spec.faults import Fault, faults_of
from suite.spec.grids import axes
from suite.spec.tuning import Range, grid_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from suite.spec.entries import Entry
    from suite.spec.tuning import Axis, Space, TuningOutline

MOST_TRIALS = 10_000
"""Of an optimizer on a data set."""

_HINT = "give a list of values, or a range such as {low: 1e-4, high: 0.1}"


def spaces_of(
    tuning: TuningOutline, entries: Mapping[str, Entry], overrides: Mapping[str, Any], seeds: object
) -> tuple[dict[str, Space], list[Fault]]:
    """Every optimizer's space, and all that is wrong with them.

    Args:
        tuning: as the file gives it.
        entries: the file's optimizers.
        overrides: as the file gives them: an option that is tuned cannot also be overridden.
        seeds: the final ones, from which those of the trials must differ.

    """
    faults: list[Fault] = []
    spaces: dict[str, Space] = {}
    for label, options in tuning.spaces.items():
        if label not in entries:
            continue  # it may have been removed
        space, found = _space(tuning, entries[label], options)
        faults += found
        spaces[label] = space
        faults += _conflicts(label, entries[label], options, overrides)
    faults += [
        Fault(
            ("tuning", "spaces"),
            f"optimizer {label!r} has no space{did_you_mean(label, set(tuning.spaces) - set(entries))}; all are tuned, "
            "by the same budget",
        )
        for label in entries
        if label not in tuning.spaces
    ]
    if not faults:
        faults += [*_sizes(tuning, spaces), *_too_many(tuning, spaces)]
    final = seeds if isinstance(seeds, list) else []
    faults += [
        Fault(("tuning", "seeds", index), f"seed {seed} is a final one too: choose settings on seeds of their own")
        for index, seed in enumerate(tuning.seeds)
        if seed in final
    ]
    return spaces, faults


def _space(tuning: TuningOutline, entry: Entry, options: Mapping[str, Any]) -> tuple[Space, list[Fault]]:
    space: Space = {}
    faults: list[Fault] = []
    for option, given in options.items():
        path = ("tuning", "spaces", entry.path[-1], option)
        if option not in entry.model.model_fields or option == "method":
            names = [name for name in entry.model.model_fields if name != "method"]
            faults.append(Fault(path, f"unknown option{did_you_mean(option, names)}"))
        elif isinstance(given, list) and given:
            space[option] = tuple(given)
        elif isinstance(given, dict) and tuning.search != "grid":
            try:
                space[option] = Range.model_validate(given)
            except ValidationError as error:
                faults += [Fault((*path, *fault.path), fault.text) for fault in faults_of(error, given, Range)]
        elif isinstance(given, dict):
            faults.append(Fault(path, "a grid takes a list of values; a range is for search: random or tpe"))
        else:
            faults.append(Fault(path, f"{_HINT}, not {shown(given)}"))
    if not options:
        faults.append(Fault(("tuning", "spaces", entry.path[-1]), f"an empty space: {_HINT} for at least one option"))
    return space, faults


def _conflicts(label: str, entry: Entry, options: Mapping[str, Any], overrides: Mapping[str, Any]) -> Iterator[Fault]:
    """Options that stand both in a space and elsewhere."""
    for option in axes(entry.values):
        yield Fault(entry.origins[option], f"{option} is a grid; under tuning its values belong into tuning.spaces")
    for dataset, given in overrides.items():
        replaced = given.get(label) if isinstance(given, dict) else None
        for option in replaced if isinstance(replaced, dict) else ():
            if option in options:
                yield Fault(("overrides", dataset, label, option), f"{option} is tuned, which an override would undo")


def _sizes(tuning: TuningOutline, spaces: Mapping[str, Space]) -> Iterator[Fault]:
    """The same number of trials for all."""
    if tuning.search != "grid":
        return
    sizes = {label: grid_size(space) for label, space in spaces.items()}
    wanted = tuning.trials or max(sizes.values())
    for label, size in sizes.items():
        if size != wanted:
            text = f"{size} settings where {_others(sizes, wanted, tuning)}; give every optimizer as many"
            yield Fault(("tuning", "spaces", label), text)


def _too_many(tuning: TuningOutline, spaces: Mapping[str, Space]) -> Iterator[Fault]:
    """A study whose trials would not end, said before they are made."""
    for label, space in spaces.items():
        trials = tuning.size(space)
        if trials * len(tuning.seeds) > MOST_TRIALS:
            text = f"{trials} settings × {len(tuning.seeds)} seeds are too many trials: at most {MOST_TRIALS}"
            yield Fault(("tuning", "spaces", label), text)


def _others(sizes: Mapping[str, int], wanted: int, tuning: TuningOutline) -> str:
    if tuning.trials is not None:
        return f"tuning.trials is {wanted}"
    label = next(label for label, size in sizes.items() if size == wanted)
    return f"{label!r} has {wanted}"


def first_values(space: Space) -> dict[str, Any]:
    """One setting of a space, to stand in where none is chosen yet."""
    return {option: _first(axis) for option, axis in space.items()}


def _first(axis: Axis) -> Any:
    return axis.low if isinstance(axis, Range) else axis[0]


def faults_of_values(entry: Entry, space: Space) -> Iterator[Fault]:
    """Values of a space that the optimizer does not take, each held against it with one setting for all else.

    Args:
        entry: the optimizer, one setting of the space standing in.
        space: option → values, or a range, whose ends are looked at.

    """
    for option, axis in space.items():
        ends: list[tuple[str | int, object]] = list(enumerate(axis)) if isinstance(axis, tuple) else []
        if isinstance(axis, Range):
            ends = [("low", axis.low), ("high", axis.high)]
        for place, value in ends[1:]:  # the first stands in
            values = {**entry.values, option: value}
            try:
                entry.model.model_validate(values)
            except ValidationError as error:
                for fault in faults_of(error, values, entry.model):
                    if fault.path[:1] == (option,):
                        yield Fault((*entry.origins[option], place), fault.text)
