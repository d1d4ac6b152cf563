"""Values as every database takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from suite.store.tables import Table

Values = dict[str, Any]
"""A row, by the names of its attributes."""


def null(value: Any) -> Any:
    """NaN as NULL: no database compares or averages a NaN as one would wish."""
    return None if value != value else value


def fitting(kind: type[Table], values: Values) -> Values:
    """Texts of a row no longer than their columns, and of characters that can be stored."""
    return {name: _text(kind, name, value) if isinstance(value, str) else value for name, value in values.items()}


def _text(kind: type[Table], name: str, value: str) -> str:
    storable = value.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()
    return storable[: getattr(getattr(kind, name).type, "length", None)]
