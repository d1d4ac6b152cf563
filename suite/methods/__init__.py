"""The optimizers that a spec can name: torch's own, those of the library, and those from outside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kfsvd.optimizers import MATRIX_OPTIMIZERS, OPTIMIZERS
from suite.methods.base import Method
from suite.methods.declared import library_method, library_names
from suite.methods.first_order import SGD, Adam
from suite.methods.singd import SINGD

if TYPE_CHECKING:
    from collections.abc import Iterator

_OWN: dict[str, type[Method]] = {"sgd": SGD, "adam": Adam, "singd": SINGD}


class _Methods(Mapping[str, type[Method]]):
    """Every method by name; a new line in one of the library's registries is a method at once."""

    def __getitem__(self, name: str) -> type[Method]:
        if name in _OWN:
            return _OWN[name]
        if name not in self:
            raise KeyError(name)
        return library_method(name)

    def __contains__(self, name: object) -> bool:
        return name in _OWN or name in library_names()

    def __iter__(self) -> Iterator[str]:
        """Approximations without an optimizer of their own come last: the colours of all others stay."""
        ours = [*OPTIMIZERS, *MATRIX_OPTIMIZERS]
        return iter(["sgd", "adam", *ours, "singd", *(name for name in library_names() if name not in ours)])

    def __len__(self) -> int:
        return len(_OWN) + len(library_names())


METHODS: Mapping[str, type[Method]] = _Methods()


def method_named(name: str) -> type[Method]:
    """The method of that name in `METHODS`, of an installed entry point, or at an import path, imported here.

    Raises:
        PluginError: it cannot be imported or is no optimizer.

    """
    if name in METHODS:
        return METHODS[name]
    from suite.methods.foreign import foreign_method

    return foreign_method(name)


__all__ = ["METHODS", "Method", "method_named"]
