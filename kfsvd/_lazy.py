"""Packages that load nothing until one of their names is asked for."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def public(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The functions `__getattr__` and `__dir__` of a package whose public names are those of its module `_public`.

    Args:
        package: its name.

    """

    def get(name: str) -> Any:
        if not name.startswith("_") and find_spec(f"{package}.{name}") is not None:
            return import_module(f"{package}.{name}")
        own = import_module(f"{package}._public")
        if name != "__all__" and name not in own.__all__:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(own, name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted(import_module(f"{package}._public").__all__)

    return get, names
