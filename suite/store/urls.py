"""A store's URL: the file that it names, and how it is shown to people."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError

from suite.errors import StoreError


def shown(url: str) -> str:
    """The URL with `***` for every password, also where it cannot be parsed."""
    try:
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError):  # ValueError: a port that is no number
        return re.sub(r":(?!//).*@", ":***@", url)
    secret = {name: "***" for name in parsed.query if "password" in name}
    if not secret and parsed.password is None:
        return url
    return parsed.update_query_dict(secret).render_as_string(hide_password=True).replace("%2A%2A%2A", "***")


def identity(url: str) -> str:
    """Eight hexadecimal digits that stand for a store, whoever's password the URL has."""
    parsed = sa.make_url(url)
    query = {name: value for name, value in parsed.query.items() if "password" not in name}
    bare = sa.URL.create(parsed.drivername, parsed.username, None, parsed.host, parsed.port, parsed.database, query)
    return hashlib.sha256(bare.render_as_string().encode()).hexdigest()[:8]


def sqlite_file(url: str) -> Path | None:
    """The file of a SQLite store; None for a server, or a database in memory.

    Raises:
        StoreError: the URL is none that SQLAlchemy understands.

    """
    try:
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError):
        raise StoreError(f"--db {shown(url)}: not a database URL; try sqlite:///kfsvd-bench.sqlite") from None
    if parsed.get_backend_name() != "sqlite" or parsed.database in (None, "", ":memory:"):
        return None
    return Path(str(parsed.database))
