"""What a damaged file, or another program, has put where it cannot be: SQLite takes any value in any column."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from suite.store.tables import Table

if TYPE_CHECKING:
    from sqlalchemy import Column, Connection


def misfit(connection: Connection) -> str | None:
    """The first column of a SQLite store with a value of another kind, as table.column; None where all fit."""
    for table in Table.metadata.sorted_tables:
        for column in table.columns:
            query = f'SELECT 1 FROM "{table.name}" WHERE NOT ({_fits(column)}) LIMIT 1'
            if connection.exec_driver_sql(query).first() is not None:
                return f"{table.name}.{column.name}"
    return None


def _fits(column: Column[object]) -> str:
    """The condition that a value is what the column holds."""
    name, kind = f'"{column.name}"', column.type
    if isinstance(kind, sa.JSON):
        fits = f"typeof({name}) = 'text' AND json_valid({name})"
    elif isinstance(kind, sa.DateTime):
        fits = f"typeof({name}) = 'text' AND julianday({name}) IS NOT NULL"
    elif isinstance(kind, sa.Boolean):
        fits = f"typeof({name}) = 'integer' AND {name} IN (0, 1)"
    elif isinstance(kind, sa.Integer):
        fits = f"typeof({name}) = 'integer'"
    elif isinstance(kind, sa.Float):
        fits = f"typeof({name}) IN ('real', 'integer')"
    else:
        fits = f"typeof({name}) = 'text'"
    return f"{fits} OR {name} IS NULL"
