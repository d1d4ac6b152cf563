"""What a spec can name beyond the suite's own: by an installed entry point, or by an import path where that is allowed.

An import path `package.module:object` is code that a spec would run, so that `load_spec` refuses it unless it is told
otherwise (`--allow-import`). An entry point is code that its user has installed: its name needs no leave.
"""

from __future__ import annotations

import hashlib
import importlib
import re
import sys
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.errors import SuiteError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

OPTIMIZERS = "kfsvd_bench.optimizers"
DATASETS = "kfsvd_bench.datasets"
NETWORKS = "kfsvd_bench.networks"

_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


class PluginError(SuiteError):
    """A name from outside the suite that does not lead to what it should."""


def is_path(name: object) -> bool:
    """Whether a name is meant as an import path: no name of a registry has a colon."""
    return isinstance(name, str) and ":" in name


@cache
def installed(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group, by name."""
    return {point.name: point for point in sorted(entry_points(group=group), key=lambda point: point.value)}


def is_known(group: str, name: object) -> bool:
    """Whether a name is an import path, or the name of an installed entry point of the group; imports nothing."""
    return is_path(name) or (isinstance(name, str) and name in installed(group))


def resolved(group: str, name: str) -> Any:
    """What an import path or the name of an entry point leads to; it is imported here.

    Modules are looked for on Python's path and, after all else, in the working folder.

    Raises:
        PluginError: the path has not the form `package.module:object`, nothing is there, or importing it fails.

    """
    path = name if is_path(name) else installed(group)[name].value
    what = f"{name!r}" if path == name else f"{name!r} (the entry point {path!r})"
    if is_path(name) and not _PATH.fullmatch(path):
        raise PluginError(f"an import path is of the form package.module:object, not {name!r}")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    module, _, attributes = path.partition(":")
    try:
        value: Any = importlib.import_module(module)
        for attribute in attributes.split(".") if attributes else ():
            value = getattr(value, attribute)
    except Exception as error:  # whatever a stranger's module raises
        raise PluginError(f"cannot import {what}: {type(error).__name__}: {error}") from error
    return value


@cache
def sources(group: str, name: str) -> str:
    """First 16 hex digits of the SHA-256 over the file that a name leads to, and the one that defines what is there.

    A result of code from outside belongs to that code as it was.
    """
    value = resolved(group, name)
    path = name if is_path(name) else installed(group)[name].value
    modules = [path.partition(":")[0], (value if isinstance(value, type) else type(value)).__module__]
    digest = hashlib.sha256()
    for file in (getattr(sys.modules.get(module), "__file__", None) for module in dict.fromkeys(modules)):
        if file is not None:
            digest.update(Path(file).read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()[:16]
