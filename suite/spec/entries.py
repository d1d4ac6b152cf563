"""An optimizer or a data set as a spec file gives it, before it is a model."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from suite.spec.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

    from suite.spec.faults import KeyPath


class Entry(NamedTuple):
    """An entry of the file with its defaults, and where each of its options stands."""

    path: KeyPath
    model: type[BaseModel]
    values: dict[str, Any]
    origins: dict[str, KeyPath]

    def located(self, fault: Fault, indices: Mapping[str, int] = MappingProxyType({})) -> Fault:
        """A fault of this entry's model, with its path in the file; `indices` into the lists of a grid."""
        if not fault.path:
            return Fault(self.path, fault.text)
        name = str(fault.path[0])
        origin = self.origins.get(name, (*self.path, name))
        index = (indices[name],) if name in indices else ()
        return Fault((*origin, *index, *fault.path[1:]), fault.text)

    def replaced(self, path: KeyPath, options: Mapping[str, Any]) -> Entry:
        """This entry with some options from elsewhere, at `path` of the file."""
        origins = {name: (*path, name) for name in options}
        return self._replace(values={**self.values, **options}, origins={**self.origins, **origins})
