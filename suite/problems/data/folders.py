"""Where data sets lie on this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Folders:
    """Places to look, in order.

    Args:
        given: the user's folder (`--data-dir`, else the environment variable KFSVD_DATA); only read.
        cache: the user's cache, where downloads and generated sets are kept.

    """

    given: Path | None
    cache: Path

    @classmethod
    def default(cls, given: Path | None = None) -> Folders:
        """`given`, else KFSVD_DATA, and this system's cache folder for the user."""
        import platformdirs

        variable = os.environ.get("KFSVD_DATA")
        folder = given if given is not None else Path(variable) if variable else None
        return cls(folder, Path(platformdirs.user_cache_dir("kfsvd-bench")))

    def find(self, *names: str) -> Path | None:
        """The first of these files, relative to either folder, that exists."""
        for folder in (self.given, self.cache):
            for name in names:
                if folder is not None and (folder / name).is_file():
                    return folder / name
        return None
