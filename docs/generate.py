"""Write docs/reference.md: every public name of `kfsvd` and `suite.cost`, from its own signature and docstring.

    python docs/generate.py     (or `make docs`)

Names are listed under the module that they live in, below what that module says of itself. A test holds the committed
page against `reference()`, and every public callable to documenting its parameters.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Union, get_args, get_origin

import kfsvd
from kfsvd.approximations import approximation
from kfsvd.optimizers import entries, options_of
from kfsvd.options.declare import declared, flattened
from kfsvd.options.natural_gradient import Options
from kfsvd.options.objects import CurvatureBatch, Damping, KLClip, LearningRate, LowRank, Refresh

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kfsvd.options.declare import Declared

PAGE = Path(__file__).with_name("reference.md")

MODULES = (
    "kfsvd.options.objects",
    "kfsvd.optimizers.natural_gradient",
    "kfsvd.optimizers.kronecker",
    "kfsvd.optimizers.exact",
    "kfsvd.optimizers.two_level",
    "kfsvd.optimizers.kbfgs",
    "kfsvd.optimizers.quadratic",
    "kfsvd.optimizers.matrices",
    "kfsvd.optimizers.shampoo",
    "kfsvd.optimizers.soap",
    "kfsvd.optimizers.swan",
    "kfsvd.optimizers.muon",
    "kfsvd.approximations",
    "kfsvd.approximations.base",
    "kfsvd.averaging",
    "kfsvd.rearrangement",
    "kfsvd.inverse.damped",
    "kfsvd.inverse.low_rank",
    "kfsvd.curvature.base",
    "kfsvd.curvature.kronecker_sum",
    "kfsvd.curvature.eigenbasis",
    "kfsvd.curvature.sampled",
    "kfsvd.curvature.inputs_only",
    "kfsvd.curvature.rank_one",
    "kfsvd.optimizers.coarse",
    "kfsvd.measures",
    "kfsvd.network.samples",
    "kfsvd.network.capture",
    "kfsvd.network.layers",
    "kfsvd.network.likelihoods",
    "kfsvd.compression",
    "kfsvd.compression.compress",
    "kfsvd.compression.masks",
    "kfsvd.compression.base",
    "kfsvd.compression.magnitude",
    "kfsvd.compression.surgeon",
    "kfsvd.compression.quadratic",
    "kfsvd.compression.svd",
    "kfsvd.compression.row_weighted",
    "kfsvd.compression.fisher_weighted",
)
"""The order of the page. Modules without a public name are there for what they say; any others with some come last."""

OBJECTS = (LearningRate, Damping, LowRank, Refresh, CurvatureBatch, KLClip)
"""The small objects that options may be given in."""

WITHIN = ("kfsvd.compression", "suite.cost")
"""Packages whose own public functions and classes are listed."""

WHOLE = ("kfsvd.measures",)
"""Modules whose functions are all listed."""

_SECTIONS = ("Args", "Returns", "Raises")


class Docstring(NamedTuple):
    """A google-style docstring taken apart."""

    text: str
    sections: dict[str, dict[str, str]]  # "Args" → name → meaning; prose has the name ""


def parsed(docstring: str | None) -> Docstring:
    """The free text of a docstring, and its sections."""
    text: list[str] = []
    sections: dict[str, dict[str, str]] = {}
    section = ""
    for line in inspect.cleandoc(docstring or "").splitlines():
        if line.rstrip(":") in _SECTIONS and line.endswith(":"):
            section = line[:-1]
            sections[section] = {}
        elif section and (not line or line.startswith(" ")):
            items = sections[section]
            entry = re.match(r"    (\*{0,2}\w+)(?: \(.*?\))?: (.*)", line) if section != "Returns" else None
            if entry:
                items[entry[1].lstrip("*")] = entry[2]
            elif line:
                last = next(reversed(items), "")
                items[last] = f"{items.get(last, '')} {line.strip()}".strip()
        else:
            section = ""
            text.append(line)
    return Docstring("\n".join(text).strip(), sections)


def public_names() -> dict[str, dict[str, Any]]:
    """Module → name → object, in the order of the page."""
    homes: dict[str, dict[str, Any]] = {module: {} for module in MODULES}
    for name in kfsvd.__all__:
        value = getattr(kfsvd, name)
        home = getattr(value, "__module__", None) or _home_of_constant(name)
        homes.setdefault(home, {})[name] = value
    for package in map(importlib.import_module, WITHIN):
        for value in (getattr(package, name) for name in package.__all__):
            if inspect.isclass(value) or inspect.isfunction(value):
                homes.setdefault(value.__module__, {})[value.__name__] = value
    for module in WHOLE:
        for name, value in vars(importlib.import_module(module)).items():
            if inspect.isfunction(value) and value.__module__ == module and not name.startswith("_"):
                homes[module][name] = value
    return homes


def members(cls: type) -> dict[str, Any]:
    """The public methods and properties that a class defines itself, in the order of its source."""
    found = {}
    for name, value in vars(cls).items():
        member = inspect.unwrap(getattr(value, "__func__", value))
        function = member.fget if isinstance(member, property) else member
        # torch puts a wrapped `step` of the base into a class when an optimizer is made
        if (
            inspect.isfunction(function)
            and not name.startswith("_")
            and function.__qualname__ == f"{cls.__name__}.{name}"
        ):
            found[name] = member
    return found


def parameters(function: Any) -> list[inspect.Parameter]:
    """What a caller passes."""
    return [p for p in inspect.signature(function).parameters.values() if p.name not in ("self", "cls")]


def arguments_of(function: Any, owner: type | None = None) -> tuple[dict[str, str], str]:
    """The documented arguments of a callable, and the name of that whose they are if it documents none itself."""
    own = parsed(function.__doc__).sections.get("Args", {})
    if own or owner is None:
        return own, ""
    for base in owner.__mro__[1:]:
        inherited = parsed(vars(base).get(function.__name__, base).__doc__).sections.get("Args", {})
        if inherited and function.__name__ in vars(base):
            return inherited, f"{base.__name__}.{function.__name__}"
    return {}, ""


def attributes(source: Any) -> dict[str, str]:
    """What the strings below the assignments in a class or module say of them."""
    found = {}
    tree = ast.parse(textwrap.dedent(inspect.getsource(source)))
    bodies = [node.body for node in ast.walk(tree) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)]
    for one, after in (pair for body in bodies for pair in pairwise(body)):
        target = one.targets[0] if isinstance(one, ast.Assign) else getattr(one, "target", None)
        name = target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "_")
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and not name.startswith("_"):
            found[name] = inspect.cleandoc(str(after.value.value))
    return found


def reference() -> str:
    """The whole page."""
    homes = public_names()
    blocks = [
        "# Reference",
        "Written by `make docs` from the signatures and docstrings; [the guide](guide.md) says what to use when.\n"
        "Losses are in nats per example; m is a number of examples, T of positions, (d_out, d_in) the shape of a\n"
        "layer's weight with its bias as the last column.",
        "\n".join(
            f"* [`{module}`](#{anchor(module)})"
            + (": " + ", ".join(f"[`{name}`](#{anchor(name)})" for name in names) if names else "")
            for module, names in homes.items()
        ),
    ]
    for module, names in homes.items():
        blocks += [f"## {module}", *_prose(parsed(importlib.import_module(module).__doc__).text)]
        for name, value in names.items():
            blocks += [f"### {name}", *_entry(name, value, module)]
    return "\n\n".join(blocks) + "\n"


def _entry(name: str, value: Any, module: str) -> Iterator[str]:
    if name == "APPROXIMATIONS":
        yield from _prose(attributes(importlib.import_module(module))[name])
        yield _approximations()
    elif inspect.isclass(value):
        yield from _class(name, value)
    else:
        yield _signature(name, value)
        yield from _documentation(value)


def _class(name: str, cls: type) -> Iterator[str]:
    bases = [base.__name__ for base in cls.__bases__ if base.__module__.startswith("kfsvd")]
    if not issubclass(cls, BaseException):
        yield _signature(f"class {name}", cls)
    if bases:
        yield f"A `{'`, `'.join(bases)}`, with all that it offers."
    yield from _documentation(cls)
    yield from _options(cls)
    for attribute, text in attributes(cls).items():
        yield f"**`{attribute}`** (attribute): {text}"
    for member, value in members(cls).items():
        if isinstance(value, property):
            returned = inspect.signature(value.fget).return_annotation if value.fget else ""
            yield f"**`{member}`** → `{returned}` (property): " + "\n\n".join(_documentation(value))
        else:
            yield _signature(f"{name}.{member}", value)
            yield from _documentation(value, cls)


def _options(cls: type) -> Iterator[str]:
    """The table of an optimizer's options; of a natural-gradient method, those that are not as for all."""
    classes = {entry.where: entry for entry in entries().values()}
    entry = classes.get(f"{cls.__module__}:{cls.__name__}")
    natural = issubclass(cls, kfsvd.NaturalGradient)
    shared, choices = flattened(Options) if natural else {}, dict[str, tuple[str, ...]]()
    options = shared
    if entry is not None:
        options, choices = options_of(entry)
        choices = {name: few for name, few in choices.items() if len(few) < len(accepted(options[name]).split(", "))}
        alike = {name for name in shared if options[name] == shared[name]} - choices.keys()
        options = {name: option for name, option in options.items() if name not in alike}
    if not options:
        return
    objects = {own.option.flat: f"`{kind.__name__}.{own.name}`" for kind in OBJECTS for own in declared(kind).values()}
    rows = ["| option | default | values | meaning |", "| --- | --- | --- | --- |"]
    for name, option in options.items():
        values = ", ".join(f"`{choice}`" for choice in choices[name]) if name in choices else accepted(option)
        owner = f" ({objects[name]})" if name in objects and natural else ""
        rows.append(f"| `{name}` | `{option.default!r}` | {values} | {option.option.says}{owner} |")
    yield (
        "Options:"
        if cls is kfsvd.NaturalGradient or not natural
        else "Options that differ from those of `NaturalGradient`:"
    )
    yield "\n".join(rows)


def accepted(declared: Declared) -> str:
    """The values of an option, in words."""
    parts = get_args(declared.kind) if get_origin(declared.kind) in (Union, UnionType) else (declared.kind,)
    choices = [f"`{choice}`" for part in parts if get_origin(part) is Literal for choice in get_args(part)]
    signs = (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤"))
    bounds = [f"{sign} {bound:g}" for name, sign in signs if (bound := getattr(declared.option, name)) is not None]
    if {int, str} <= set(parts):
        return "a number ≥ 1, or a schedule"
    return ", ".join(choices or bounds) or ("true, false" if bool in parts else "any")


def _documentation(value: Any, owner: type | None = None) -> Iterator[str]:
    docstring = parsed(value.__doc__)
    yield from _prose(docstring.text)
    if owner is not None and parameters(value):
        arguments, whose = arguments_of(value, owner)
        if whose:
            yield f"Arguments: those of `{whose}`."
        docstring.sections.setdefault("Args", {} if whose else arguments)
    for section, title in zip(_SECTIONS, ("Arguments", "Returns", "Raises"), strict=True):
        items = docstring.sections.get(section, {})
        if items and section == "Returns":
            yield f"{title}: {items['']}"
        elif items:
            yield f"{title}:"
            yield "\n".join(f"* `{item}`: {text}" for item, text in items.items())


def _prose(text: str) -> Iterator[str]:
    """Paragraphs; indented ones are formulas, and rows of `name`  meaning are lists."""
    for paragraph in re.split(r"\n\s*\n", text):
        lines = paragraph.splitlines()
        if all(line.startswith("    ") for line in lines):
            yield "```text\n" + textwrap.dedent(paragraph) + "\n```"
        elif re.match(r"`\w+` {2,}", paragraph):
            rows = re.sub(r"\n +", " ", paragraph)
            yield re.sub(r"^(`\w+`) +", r"* \1: ", rows, flags=re.MULTILINE)
        else:
            yield paragraph


def _spelled(annotation: Any) -> str:
    """A type as the sources spell it."""
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    text = re.sub(r"^Annotated\[(.*?), Option\(.*\]$", r"\1", text)
    return re.sub(r"\bkfsvd(\.\w+)+\.(\w+)", r"\2", text)


def _signature(name: str, function: Any) -> str:
    shown, keyword_only = [], False
    for p in parameters(function):
        if p.kind is p.KEYWORD_ONLY and not keyword_only:
            shown.append("*")
            keyword_only = True
        prefix = "*" if p.kind is p.VAR_POSITIONAL else "**" if p.kind is p.VAR_KEYWORD else ""
        default = "" if p.default is p.empty else f" = {p.default!r}"
        shown.append(f"{prefix}{p.name}: {_spelled(p.annotation)}{default}")
    returned = inspect.signature(function).return_annotation
    result = "" if inspect.isclass(function) or returned is inspect.Signature.empty else f" -> {returned}"
    line = f"{name}({', '.join(shown)}){result}"
    if len(line) > 100:
        line = f"{name}(\n" + "".join(f"    {part},\n" for part in shown) + f"){result}"
    return f"```python\n{line}\n```"


def _approximations() -> str:
    rows = ["| name | F̂ | options | form | averaging | damping rules |", "| --- | --- | --- | --- | --- | --- |"]
    for name, cls in kfsvd.APPROXIMATIONS.items():
        method = approximation(name)
        options = ", ".join(f"`{field.name}={field.default!r}`" for field in fields(cls))
        summary = parsed(cls.__doc__).text.split("\n\n")[0].replace("\n", " ").replace("|", "\\|")
        lists = (", ".join(f"`{choice}`" for choice in each) for each in (cls.averagings, method.damping_rules))
        rows.append(f"| `{name}` | {summary} | {options} | `{method.curvature.__name__}` | {' | '.join(lists)} |")
    return "\n".join(rows)


def _home_of_constant(name: str) -> str:
    return next(m for m in MODULES if name in vars(importlib.import_module(m)))


def anchor(heading: str) -> str:
    """GitHub's anchor of a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


if __name__ == "__main__":
    PAGE.write_text(reference())
