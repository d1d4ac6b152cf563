"""Results for notebooks: what a store holds, as data frames."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from suite.store.frames import Frames, frame, needed

if TYPE_CHECKING:
    from suite.store import Store


def load(db: str | Path, spec: str | Path | None, *, attempts: bool) -> Frames:
    """`suite.load`."""
    needed()
    from suite.store import open_store, url_of
    from suite.store.listing import listing

    with open_store(url_of(db), create=False) as store:
        keys = None if spec is None else keys_of(Path(spec), store)
        return Frames(**{name: frame(table) for name, table in listing(store, keys, attempts=attempts).items()})


def keys_of(spec: Path, store: Store) -> set[str]:
    """The keys of a spec's cells, trials included, whatever sources measured them.

    Raises:
        SuiteError: the spec cannot be used.

    """
    from suite.plan.plan import load_matrix

    return {cell.key for cell in load_matrix(spec, any_sources=True).stage(store).known}
