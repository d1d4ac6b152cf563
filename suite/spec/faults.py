"""Faults of a spec file: where each is, and what is wrong in plain words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from pydantic import BaseModel

from suite.errors import LONGEST_SHOWN, SuiteError, did_you_mean, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

KeyPath = tuple[str | int, ...]
"""The way to a value: keys of mappings and indices of lists, from the top of the file."""


class SpecError(SuiteError):
    """A spec that cannot be used; the text holds one line per fault, each with file, line and key."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(self.faults))


class Fault(NamedTuple):
    """One thing that is wrong: the way to the value, and what is wrong with it."""

    path: KeyPath
    text: str
    line: int | None = None  # where it is not the line of `path`


def key_path(path: KeyPath) -> str:
    """A path as a person writes it: `optimizers.kpsvd.lr[1]`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{_plain(step)}" for step in path).removeprefix(".")


def _plain(key: str) -> str:
    return key if key.isprintable() and 0 < len(key) <= LONGEST_SHOWN else shown(key)


def faults_of(error: ValidationError, data: object, model: type[BaseModel]) -> list[Fault]:
    """The faults that pydantic found in `data` when it was read as `model`, in plain words.

    Paths are relative to `data`; steps that pydantic adds for its own sake (tags of unions, names of
    validators) are left out.
    """
    return [
        _fault(details, data, model)
        for details in error.errors(include_url=False)
        # a list of which an item is at fault is not also too short
        if details["type"] != "too_short" or len(details["input"]) < details["ctx"]["min_length"]
    ]


def _fault(details: ErrorDetails, data: Any, model: type[BaseModel]) -> Fault:
    path: KeyPath = ()
    owners: tuple[type[BaseModel], ...] = (model,)
    *inner, last = (*details["loc"], *_discriminator(details)) or ("",)
    for step in inner:
        if _holds(data, step):
            path, data = (*path, step), data[step]
        owners = _owners(owners, step)
    if _holds(data, last) or details["type"] in ("missing", "union_tag_not_found"):
        path = (*path, last)
    return Fault(path, _wrong(details, owners[0] if owners else None))


def _discriminator(details: ErrorDetails) -> KeyPath:
    """The key whose value says which of several models is meant, where that is what is wrong."""
    return (details["ctx"]["discriminator"].strip("'"),) if details["type"].startswith("union_tag") else ()


def _holds(data: object, step: str | int) -> bool:
    if isinstance(data, Mapping):
        return step in data
    return isinstance(data, Sequence) and isinstance(step, int) and step < len(data)


def _owners(models: tuple[type[BaseModel], ...], step: str | int) -> tuple[type[BaseModel], ...]:
    """The models that may hold what lies at `step` of `models`: of a field, those of its union; of a tag, its own.

    A tag is a value of a model's field, such as its kind, or the model's name.
    """
    for model in models:
        if step in model.model_fields:
            return tuple(_models(model.model_fields[step].annotation))
    tagged = [
        m for m in models if m.__name__ == step or any(step in get_args(f.annotation) for f in m.model_fields.values())
    ]
    return tuple(tagged) or models  # neither: a step inside a list or a mapping


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that an annotation speaks of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


_KINDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
    "finite_number": "a finite number",
}
_BOUNDS = {
    "greater_than": ("greater than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def _wrong(details: ErrorDetails, model: type[BaseModel] | None) -> str:
    kind, value, context = details["type"], details["input"], details.get("ctx", {})
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        key = str(details["loc"][-1])
        return f"unknown key{did_you_mean(key, model.model_fields if model else ())}"
    if kind in _KINDS:
        quoted = "number" in _KINDS[kind] and isinstance(value, str) and _NUMBER.fullmatch(value)
        return f"must be {_KINDS[kind]}, not {shown(value)}{'; write it without quotes' if quoted else ''}"
    if kind in _BOUNDS:
        words, name = _BOUNDS[kind]
        return f"must be {words} {_number(context[name])}, not {shown(value)}"
    if kind == "literal_error":
        return f"unknown value {shown(value)}{did_you_mean(str(value), choices(context['expected']))}"
    if kind == "union_tag_invalid":
        return f"unknown value {shown(context['tag'])}{did_you_mean(context['tag'], choices(context['expected_tags']))}"
    if kind == "union_tag_not_found":
        return "is missing"
    if kind == "too_short":
        least = context["min_length"]
        return "must not be empty" if least == 1 else f"must hold at least {least}, not {shown(value)}"
    if kind == "too_long":
        return f"must hold at most {context['max_length']}, not {context['actual_length']}"
    if kind == "value_error":
        return str(context["error"])
    message = details["msg"]
    return f"{message[:1].lower()}{message[1:]}, not {shown(value)}"


def choices(expected: str) -> Sequence[str]:
    """The choices in pydantic's "'a', 'b' or 'c'" or "1, 2 or 3"."""
    return [choice.strip("'\"") for choice in re.split(r", | or ", expected)]


def _number(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
