"""Where data sets lie on this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from suite.errors import SuiteError

if TYPE_CHECKING:
    from collections.abc import Iterator

VARIABLE = "KFSVD_DATA"


@dataclass(frozen=True)
class Folders:
    """Places to look, in order.

    Args:
        data: the user's folder (`--data-dir`, else the environment variable KFSVD_DATA), which is only read; or None.
        cache: the user's cache, where downloads and generated sets are kept.

    """

    data: Path | None
    cache: Path

    @classmethod
    def default(cls, data_dir: Path | None = None) -> Folders:
        """`data_dir`, else KFSVD_DATA, else no folder; and this system's cache folder for the user.

        Raises:
            SuiteError: the folder that is asked for does not exist.

        """
        import platformdirs

        variable = os.environ.get(VARIABLE)
        data = data_dir if data_dir is not None else Path(variable) if variable else None
        if data is not None and not data.is_dir():
            origin = "--data-dir" if data_dir is not None else VARIABLE
            raise SuiteError(f"the data folder of {origin} does not exist: {data}")
        return cls(data, platformdirs.user_cache_path("kfsvd-bench", appauthor=False))

    def places(self, *names: str) -> Iterator[Path]:
        """Those of the files `names`, relative to either folder, that exist: the user's folder first."""
        for folder in (self.data, self.cache):
            if folder is not None:
                yield from (folder / name for name in names if (folder / name).is_file())

    def find(self, *names: str) -> Path | None:
        """The first of these files that exists."""
        return next(self.places(*names), None)

    def lacking(self, *names: str) -> list[str]:
        """One line for each folder that has none of these files."""
        folders = [folder for folder in (self.data, self.cache) if folder is not None]
        return [f"{f}: no {names[0]}" for f in folders if not any((f / name).is_file() for name in names)]

    @property
    def home(self) -> Path:
        """Where a user best puts a file: the folder that they gave, else the cache."""
        return self.data or self.cache
