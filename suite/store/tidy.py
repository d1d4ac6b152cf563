"""Tidy tables as plain data, one observation a row; and as CSV and JSON."""

from __future__ import annotations

import csv
import datetime as dt
import json
import math
from typing import TYPE_CHECKING, Any, NamedTuple, get_args, get_type_hints

if TYPE_CHECKING:
    from pathlib import Path


class Tidy(NamedTuple):
    """Named columns, each of one kind, and rows; None or NaN is where there is nothing."""

    columns: dict[str, type]  # int, float, bool, str or datetime.datetime
    rows: list[tuple[Any, ...]]


def kinds(record: type) -> dict[str, type]:
    """The columns that a NamedTuple of numbers and names makes; "int | None" is int."""
    return {name: (get_args(kind) or (kind,))[0] for name, kind in get_type_hints(record).items()}


def write_csv(table: Tidy, path: Path) -> Path:
    """A heading and the rows; what is absent is an empty field."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(table.columns)
        writer.writerows(
            ["" if value is None or value != value else _dated(value) for value in row] for row in table.rows
        )
    return path


def write_json(table: Tidy, path: Path) -> Path:
    """A list of objects, one a row and a line; what is absent or infinite is null."""
    lines = (
        json.dumps({name: finite(_dated(value)) for name, value in zip(table.columns, row, strict=True)})
        for row in table.rows
    )
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")
    return path


def finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: null instead, in lists and mappings too."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _dated(value: Any) -> Any:
    """Times as text, ISO 8601; everything else as it is."""
    return value.isoformat() if isinstance(value, dt.datetime) else value
