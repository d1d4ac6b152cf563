"""Any `torch.optim.Optimizer` as a method: its options are the keyword arguments of its constructor."""

from __future__ import annotations

import inspect
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, cast

from pydantic import AfterValidator, Field, SerializerFunctionWrapHandler, create_model, model_serializer

from suite.errors import shown
from suite.methods.base import Method
from suite.plugins import OPTIMIZERS, PluginError, resolved, sources

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

_FILLED_IN = ("likelihood", "seed")
"""Arguments that are filled in where the constructor has them and the spec does not give them."""


class Foreign(Method):
    """A `torch.optim.Optimizer` from outside the suite; only what the spec gives is handed to its constructor."""

    optimizer: ClassVar[type[Any]]
    """The class itself."""
    takes_model: ClassVar[bool]
    """Whether its first argument is the network rather than the parameters."""

    @model_serializer(mode="wrap")
    def _given(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {k: v for k, v in handler(self).items() if k in self.model_fields_set or k == "batch_size"}

    @property
    def sources(self) -> str | None:
        """What identifies the file that defines the optimizer."""
        return sources(OPTIMIZERS, self.method)

    def build(self, network: nn.Module, likelihood: str, seed: int) -> Optimizer:
        """The optimizer of `network`'s parameters, or of `network` where its first argument is called `model`."""
        own = {"likelihood": likelihood, "seed": seed}
        filled_in = {name: own[name] for name in _FILLED_IN if name in type(self).model_fields}
        given = {name: tuple(v) if isinstance(v, list) else v for name, v in self.options().items()}
        subject = network if self.takes_model else network.parameters()
        optimizer: Optimizer = self.optimizer(subject, **{**filled_in, **given})
        return optimizer

    def __reduce__(self) -> tuple[Any, ...]:
        """By the name of its class, which the worker's process imports again."""
        return _remade, (self.method, self.model_dump())


def _remade(name: str, values: dict[str, Any]) -> Method:
    return foreign_method(name).model_validate(values)


@cache
def foreign_method(name: str) -> type[Method]:
    """The options of the optimizer at an import path, or of an entry point's; a Method subclass is taken as it is.

    Raises:
        PluginError: it cannot be imported, is no optimizer, or takes an argument of the name `method` or `batch_size`.

    """
    value = resolved(OPTIMIZERS, name)
    if isinstance(value, type) and issubclass(value, Method):
        return value
    from torch.optim import Optimizer

    if not (isinstance(value, type) and issubclass(value, Optimizer)):
        raise PluginError(f"{name!r} is no torch.optim.Optimizer, nor a suite.methods.Method")
    subject, *arguments = inspect.signature(value).parameters.values()
    fields: dict[str, Any] = {"method": (Literal[name], ...)}
    for argument in arguments:
        if argument.kind in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD):
            continue  # what it does with names that it does not name cannot be checked
        if argument.name in Method.model_fields:
            raise PluginError(f"{name!r} takes an argument {argument.name!r}, which means something else in a spec")
        required = argument.default is argument.empty and argument.name not in _FILLED_IN
        fields[argument.name] = (
            _type_of(argument.default),
            Field(... if required else None, description=argument.name),
        )
    model = create_model(value.__name__, __base__=Foreign, __module__=__name__, __doc__=inspect.getdoc(value), **fields)
    model.optimizer = value
    model.takes_model = subject.name == "model"
    return cast("type[Method]", model)


def _plain(value: object) -> object:
    """A scalar, or a flat list of them: what a constructor takes as a tuple, such as `betas`."""
    items = value if isinstance(value, list) else [value]
    if not all(item is None or isinstance(item, bool | int | float | str) for item in items):
        raise ValueError(f"must be a number, true, false, text, or a list of them, not {shown(value)}")
    return value


def _type_of(default: object) -> Any:
    """What may stand in place of a default: numbers for a number, true or false for either of them, text for text."""
    if isinstance(default, bool):
        return bool | None
    if isinstance(default, int | float):
        return float | None
    return str | None if isinstance(default, str) else Annotated[Any, AfterValidator(_plain)]
