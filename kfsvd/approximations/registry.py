"""Things that are chosen by name: frozen dataclasses in a table, whose fields are their options."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

_T = TypeVar("_T")


def made(known: Mapping[str, type[_T]], method: str, options: Mapping[str, Any]) -> _T:
    """The thing of that name with those options.

    Raises:
        ValueError: nothing has that name, it has no such option, or an option's value is invalid.

    """
    if method not in known:
        raise ValueError(f"method must be one of {', '.join(known)}; got {method!r}")
    names = [field.name for field in fields(known[method])]  # type: ignore[arg-type]  # all are dataclasses
    for name in options:
        if name not in names:
            raise ValueError(f"{method} has no option {name!r}; it has {', '.join(names) or 'none'}")
    return known[method](**options)
