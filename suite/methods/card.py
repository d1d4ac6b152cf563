"""What a method is, in words, and what its options may be: from its own docstring and fields, the one place of both."""

from __future__ import annotations

import inspect
import re
from typing import Any, NamedTuple

from kfsvd.approximations import APPROXIMATIONS
from suite.methods import method_named

_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


class Option(NamedTuple):
    """An option of a method."""

    option: str
    default: Any  # "required" where there is none
    range: str  # "≥ 0, < 1", or the choices
    meaning: str | None


def summary(name: str) -> str:
    """A method in one sentence; torch is not imported."""
    return _paragraphs(method_named(name))[0].replace("\n", " ")


def description(name: str) -> str:
    """What a method is, with its formula and where that is from: the docstring of the library's class, if it is one."""
    from kfsvd.optimizers import MATRIX_OPTIMIZERS, OPTIMIZERS

    library: dict[str, type] = {**APPROXIMATIONS, **OPTIMIZERS, **MATRIX_OPTIMIZERS}
    return "\n\n".join(_paragraphs(library.get(name, method_named(name))))


def options(name: str) -> list[Option]:
    """The options that a spec may give a method, in their order."""
    schema = method_named(name).model_json_schema()["properties"]
    return [
        Option(
            option,
            "required" if field.is_required() else field.default,
            _range(schema[option]),
            field.description,
        )
        for option, field in method_named(name).model_fields.items()
        if option != "method"
    ]


def _paragraphs(kind: type) -> list[str]:
    """A docstring's prose, without its sections and what it says of arguments."""
    text = re.split(r"^(?:Args|Raises|Returns):$", inspect.getdoc(kind) or "", maxsplit=1, flags=re.MULTILINE)[0]
    return re.sub(r"\s*Arguments: those of `\w+`\.", "", text).strip().split("\n\n")


def _range(schema: dict[str, Any]) -> str:
    """The values that a JSON schema allows, in words."""
    if "anyOf" in schema:
        return " or ".join(_range(each) for each in schema["anyOf"] if each.get("type") != "null")
    if "const" in schema or "enum" in schema:
        return ", ".join(map(str, schema.get("enum", [schema.get("const")])))
    kind = {"integer": "whole", "string": "text", "boolean": "true, false"}.get(schema["type"])
    bounds = [f"{sign} {schema[bound]:g}" for bound, sign in _BOUNDS.items() if bound in schema]
    return ", ".join([*([kind] if kind else []), *bounds]) or "any number"
