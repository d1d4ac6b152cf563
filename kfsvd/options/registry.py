"""Things that are chosen by name: each registered in one line, its options declared by its class."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from kfsvd.options.declare import flattened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kfsvd.options.declare import Declared

_T = TypeVar("_T")


@dataclass(frozen=True)
class Entry:
    """A line of a registry: what a name leads to, and all that is known of it before it is loaded.

    Args:
        where: "module:Class".
        says: what it is, in a sentence.
        options: what declares its options: a `TypedDict` or a dataclass.
        defaults: of those options, where they differ from the declared ones.
        choices: by an option's flat name, the only values that it takes.
        approximation: the name of the approximation whose fields are options too; "" for none.

    """

    where: str
    says: str
    options: type[Any]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    approximation: str = ""

    def flat(self) -> dict[str, Declared]:
        """The options by their flat names, without those of the approximation."""
        return flattened(self.options, self.defaults)


class Registry(Mapping[str, type[_T]], Generic[_T]):
    """Names and the classes that they lead to; a class is imported when it is asked for.

    Args:
        entries: by name.

    """

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self.entries = dict(entries)

    def __getitem__(self, name: str) -> type[_T]:
        module, _, attribute = self.entries[name].where.partition(":")
        found: type[_T] = getattr(importlib.import_module(module), attribute)
        return found

    def __contains__(self, name: object) -> bool:
        return name in self.entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


def made(known: Mapping[str, type[_T]], method: str, options: Mapping[str, Any]) -> _T:
    """The thing of that name with those options.

    Args:
        known: dataclasses by name.
        method: the name.
        options: values of its fields.

    Raises:
        ValueError: nothing has that name, it has no such option, or an option's value is invalid.

    """
    if method not in known:
        raise ValueError(f"method must be one of {', '.join(known)}; got {method!r}")
    names = [own.name for own in fields(known[method])]  # type: ignore[arg-type]  # all are dataclasses
    for name in options:
        if name not in names:
            raise ValueError(f"{method} has no option {name!r}; it has {', '.join(names) or 'none'}")
    return known[method](**options)
