"""The optimizers of `kfsvd` as methods: names, options, defaults and ranges are those that the library declares."""

from __future__ import annotations

from functools import cache
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, cast, get_args, get_origin

from pydantic import AfterValidator, Field, create_model

from kfsvd.approximations import APPROXIMATIONS
from kfsvd.optimizers import MATRIX_OPTIMIZERS, OPTIMIZERS, entries, options_of
from kfsvd.options.intervals import Interval
from suite.methods.base import Method

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn
    from torch.optim import Optimizer

    from kfsvd.options.declare import Declared

_FILLED_IN = "seed"
"""The option that the suite gives itself."""


def _schedule(value: str) -> str:
    Interval.of(value)
    return value


_Schedule = Annotated[int, Field(ge=1)] | Annotated[str, AfterValidator(_schedule)]


class Library(Method):
    """An optimizer of `kfsvd`; the options are the library's own, by their flat names."""

    def build(self, network: nn.Module, likelihood: str, seed: int) -> Optimizer:
        """The optimizer class of that name, on `network`; of an approximation alone, `kfsvd.NaturalGradient`."""
        options = self.options()
        if self.method in MATRIX_OPTIMIZERS:
            return MATRIX_OPTIMIZERS[self.method](network, likelihood, **options)
        if self.method in OPTIMIZERS:
            kind: Any = OPTIMIZERS[self.method]
            optimizer: Optimizer = kind(network, likelihood=likelihood, seed=seed, **options)
            return optimizer
        from kfsvd.approximations import approximation
        from kfsvd.optimizers.natural_gradient import NaturalGradient
        from kfsvd.options.declare import declared

        own = {name: options.pop(name) for name in declared(APPROXIMATIONS[self.method])}
        return NaturalGradient(
            network, likelihood, approximation=approximation(self.method, **own), seed=seed, **cast("Any", options)
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """By the name of its class, which another process makes anew."""
        return _remade, (self.method, self.model_dump())


def _remade(name: str, values: dict[str, Any]) -> Method:
    return library_method(name).model_validate(values)


def library_names() -> list[str]:
    """The names of the library's optimizers, and of its approximations that have none of their own."""
    return list(entries())


def library_method(name: str) -> type[Method]:
    """The options of an optimizer of the library, as a specification gives them.

    Args:
        name: one of `library_names`.

    """
    return _made(name, APPROXIMATIONS.get(name))


@cache
def _made(name: str, _approximation: type | None) -> type[Method]:
    entry = entries()[name]
    options, choices = options_of(entry)
    fields: dict[str, Any] = {"method": (Literal[name], ...)}
    fields |= {own.name: field_of(own, choices.get(own.name)) for own in options.values() if own.name != _FILLED_IN}
    made = create_model(f"Library_{name}", __base__=Library, __module__=__name__, __doc__=entry.says, **fields)
    made.essential = tuple(own.name for own in options.values() if own.option.essential)
    return cast("type[Method]", made)


def field_of(declared: Declared, choices: Sequence[str] | None = None) -> tuple[Any, Any]:
    """A pydantic field of a declared option: its type, and its default, range and sentence.

    Args:
        declared: the option.
        choices: the only values that it may have; those of its type if None.

    """
    option, kinds = declared.option, _parts(declared.kind)
    plain = [kind for kind in kinds if kind is not NoneType]
    kind: Any = Union[tuple(plain)]  # noqa: UP007 - made at run time
    if choices is not None:
        kind = Literal[tuple(choices)]
    elif {int, str} <= set(plain):
        kind = _Schedule
    if NoneType in kinds:
        kind = kind | None
    bounds = {name: bound for name in ("gt", "ge", "lt", "le") if (bound := getattr(option, name)) is not None}
    return kind, Field(default=declared.default, description=option.says or declared.name, **cast("Any", bounds))


def _parts(kind: Any) -> tuple[Any, ...]:
    return (kind,) if get_origin(kind) in (None, Literal) else get_args(kind)
