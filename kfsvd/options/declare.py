"""Options, each declared once: name, type, default, range, and a sentence that says what it is.

A declaration is an annotation `Annotated[type, Option(…)]`: of a dataclass field, whose default is the field's own, or
of a `TypedDict`'s key, whose default is in its `Option`. What an optimizer checks, what a specification accepts, what
the card of a method and the reference show: all follow from it.

An option may take a small object beside a plain value: `damping=0.1` or `damping=Damping(0.1, rule="exact")`. The
object's fields have flat names too, `damping_rule` for `rule`: specifications use them, and keyword arguments may.
"""

from __future__ import annotations

import inspect
import math
import operator
import sys
from dataclasses import MISSING, dataclass, fields, is_dataclass
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Literal,
    NamedTuple,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from kfsvd.options.intervals import Interval

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

REQUIRED: Any = ...
"""The default of an option that must be given."""


@dataclass(frozen=True)
class Option:
    """What an option is, in one sentence, and the values that it accepts beyond its type's.

    Args:
        says: the sentence, without a capital and a full stop.
        default: of a `TypedDict`'s key; a dataclass field has its own.
        gt: a number that a value must exceed.
        ge: the least value.
        lt: a number that a value must be below.
        le: the largest value.
        flat: what the option is called where small objects are taken apart; its own name if None.
        essential: whether a comparison of methods says little without tuning it.
        products: of an option that names an approximation, the most Kronecker products that its F̂ may have.

    """

    says: str
    default: Any = REQUIRED
    gt: float | None = None
    ge: float | None = None
    lt: float | None = None
    le: float | None = None
    flat: str | None = None
    essential: bool = False
    products: int = 0


class Declared(NamedTuple):
    """An option with its name, type and default."""

    name: str
    kind: Any  # the type, without `Annotated`
    default: Any
    option: Option


class Grouped:
    """A small object that stands for several options, beside a plain value."""

    tag: ClassVar[str | None] = None
    """The plain value that it refines, such as "low_rank"; None if its first field is the plain value itself."""

    def __post_init__(self) -> None:
        """Check every field."""
        check_fields(self)


def declared(kind: type[Any]) -> dict[str, Declared]:
    """The options that a dataclass or a `TypedDict` declares, by name.

    Args:
        kind: the class. A dataclass's field without an `Option` has a name, a type and a default alone.

    """
    if is_dataclass(kind):
        hints = {own.name: _hint(kind, own.name) for own in fields(kind)}
        defaults = {own.name: own.default for own in fields(kind) if own.default is not MISSING}
    else:
        hints, defaults = get_type_hints(kind, include_extras=True), {}
    return {name: _of_hint(name, hint, defaults.get(name, REQUIRED)) for name, hint in hints.items()}


def _hint(kind: type[Any], name: str) -> Any:
    """The annotation of a dataclass's field; those of class variables may name what is there for types alone."""
    owner = next(base for base in kind.__mro__ if name in vars(base).get("__annotations__", {}))
    text = owner.__annotations__[name]
    return eval(text, vars(sys.modules[owner.__module__])) if isinstance(text, str) else text


def _of_hint(name: str, hint: Any, default: Any) -> Declared:
    if get_origin(hint) is not Annotated:
        return Declared(name, hint, default, Option(""))
    option = next(note for note in hint.__metadata__ if isinstance(note, Option))
    return Declared(name, get_args(hint)[0], option.default if default is REQUIRED else default, option)


def flattened(kind: type[Any], defaults: Mapping[str, Any] | None = None) -> dict[str, Declared]:
    """The same with every small object taken apart into its fields, by their flat names.

    Args:
        kind: the class.
        defaults: other defaults, by name or flat name.

    """
    found: dict[str, Declared] = {}
    for each in declared(kind).values():
        group, plain = group_of(each.kind)
        if group is None or group.tag is not None:
            found[each.name] = each._replace(kind=plain)
        if group is not None:
            for own in declared(group).values():
                name = own.option.flat or own.name
                found[name] = own._replace(name=name)
    own_defaults = _flat_values(kind, defaults or {})
    return {name: each._replace(default=own_defaults.get(name, each.default)) for name, each in found.items()}


def expanded(function: Callable[..., Any], kind: type[Any], defaults: Mapping[str, Any]) -> inspect.Signature:
    """The signature of a constructor that takes `**options`, with every option named: what `help` and editors show.

    Args:
        function: the constructor.
        kind: the class that declares the options.
        defaults: of the owner, where they differ from the declared ones.

    """
    own = [p for p in inspect.signature(function).parameters.values() if p.name != "self"]
    named = [p for p in own if p.kind is not p.VAR_KEYWORD]
    options = [
        inspect.Parameter(
            each.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=defaults.get(each.name, each.default),
            annotation=each.kind,
        )
        for each in declared(kind).values()
    ]
    return inspect.Signature([*named, *options] if named != own else named)


def completed(owner: str, kind: type[Any], given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Every option with its value, all checked, and small objects in the place of plain values.

    Args:
        owner: whose options they are, for messages.
        kind: the class that declares them.
        given: values by name or flat name.
        defaults: of the owner, where they differ from the declared ones.

    Raises:
        TypeError: an option is not declared, or missing.
        ValueError: a value is out of range, or an option is given twice.

    """
    known = flattened(kind, defaults)
    options = declared(kind)
    for name in given:
        if name not in known and name not in options:
            near = get_close_matches(name, [*options, *known], n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(options)}"
            raise TypeError(f"{owner} has no option {name!r}; {hint}")
    flat = {name: each.default for name, each in known.items()} | _flat_values(kind, given)
    for name, value in flat.items():
        if value is REQUIRED:
            raise TypeError(f"{owner} needs the option {name!r}")
        check(known[name], value)
    return {each.name: _gathered(each, flat) for each in options.values()}


def check_fields(thing: Any) -> None:
    """Raise a ValueError for the first field of a dataclass that is out of range.

    Args:
        thing: an instance.

    """
    for each in declared(type(thing)).values():
        check(each, getattr(thing, each.name))


def check(option: Declared, value: Any) -> None:
    """Raise a ValueError that names the option, what it accepts, and the value, if that is not accepted."""
    _, kind = group_of(option.kind)
    kinds = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    name = option.option.flat or option.name
    if value is None and NoneType in kinds:
        return
    choices = [choice for each in kinds if get_origin(each) is Literal for choice in get_args(each)]
    if choices:
        if value not in choices:
            raise ValueError(f"{name} must be one of {', '.join(map(str, choices))}; got {value!r}")
    elif int in kinds and str in kinds:
        try:
            Interval.of(value)
        except ValueError as error:
            raise ValueError(f"{name} {error}") from None
    elif bool in kinds or str in kinds:
        if not isinstance(value, kind):
            raise ValueError(f"{name} must be {'true or false' if bool in kinds else 'text'}; got {value!r}")
    elif float in kinds or int in kinds:
        _check_number(name, option.option, value, whole=float not in kinds)


def _check_number(name: str, option: Option, value: Any, *, whole: bool) -> None:
    if isinstance(value, bool) or not hasattr(value, "__float__") or math.isnan(value):
        raise ValueError(f"{name} must be a number; got {value!r}")
    if whole and (not hasattr(value, "__index__")):
        raise ValueError(f"{name} must be a whole number; got {value!r}")
    for bound, holds, words in (
        (option.gt, operator.gt, "above"),
        (option.ge, operator.ge, "at least"),
        (option.lt, operator.lt, "below"),
        (option.le, operator.le, "at most"),
    ):
        if bound is not None and not holds(value, bound):
            raise ValueError(f"{name} must be {words} {bound:g}; got {value!r}")
    if math.isinf(value):
        raise ValueError(f"{name} must be finite; got {value!r}")


def group_of(kind: Any) -> tuple[type[Grouped] | None, Any]:
    """The small object that a type offers, if it does, and the type without it."""
    parts = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    groups = [part for part in parts if isinstance(part, type) and issubclass(part, Grouped)]
    plain = [part for part in parts if part not in groups]
    return (groups[0] if groups else None), Union[tuple(plain)] if plain else NoneType  # noqa: UP007 - made at run time


def _flat_values(kind: type[Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Given values by flat name: small objects are taken apart."""
    flat: dict[str, Any] = {}
    for name, value in given.items():
        each = declared(kind).get(name)
        group = None if each is None else group_of(each.kind)[0]
        parts = {name: value}
        if group is not None and isinstance(value, group):
            parts = {} if group.tag is None else {name: group.tag}
            parts |= {own.option.flat or own.name: getattr(value, own.name) for own in declared(group).values()}
        elif isinstance(value, Grouped):
            raise ValueError(f"{name} accepts no {type(value).__name__}; got {value!r}")
        for part, own_value in parts.items():
            if part in flat:
                raise ValueError(f"{part} is given twice: once as {name}={value!r}; give it once")
            flat[part] = own_value
    return flat


def _gathered(option: Declared, flat: Mapping[str, Any]) -> Any:
    """The value of an option: a small object if it has one, for its tag alone if it has a tag."""
    group, _ = group_of(option.kind)
    if group is None or (group.tag is not None and flat[option.name] != group.tag):
        return flat[option.name]
    return group(**{own.name: flat[own.option.flat or own.name] for own in declared(group).values()})
