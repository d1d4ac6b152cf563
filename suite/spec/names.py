"""A name in a spec, of the suite's own or from outside: what it stands for, or what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from suite import plugins
from suite.errors import did_you_mean, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


class Kind(NamedTuple):
    """One kind of thing that a spec names."""

    what: str  # for messages: "method"
    own: Mapping[str, Any]  # the suite's own, by name
    group: str  # of entry points


def fault_of_name(name: object, kind: Kind, resolve: Callable[[str], object], *, allow_import: bool) -> str | None:
    """What is wrong with a name, in plain words; None where `resolve` leads somewhere.

    Nothing is imported for an import path without leave.

    Args:
        name: as the spec gives it.
        kind: what it should be a name of.
        resolve: what it stands for; raises a `PluginError`.
        allow_import: whether an import path may be followed.

    """
    if plugins.is_path(name) and not allow_import:
        return f"{shown(name)} is code to import, which --allow-import must allow"
    if not isinstance(name, str) or not (name in kind.own or plugins.is_known(kind.group, name)):
        names = [*kind.own, *plugins.installed(kind.group)]
        if name is None:
            return f"is missing{did_you_mean('', names)}"
        if not isinstance(name, str):
            return f"must be text, not {shown(name)}{did_you_mean('', names)}"
        return f"unknown {kind.what} {shown(name)}{did_you_mean(name, names)}"
    try:
        resolve(name)
    except plugins.PluginError as error:
        return str(error)
    return None
