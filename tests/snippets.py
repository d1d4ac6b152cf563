"""Python that a page shows, run as its reader would, within this process."""

from __future__ import annotations

import contextlib
import runpy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def executed(code: str, folder: Path) -> dict[str, Any]:
    """Run a script in `folder`; warnings are errors, as in every test.

    Returns:
        What it has defined, by name.

    """
    script = folder / "script.py"
    script.write_text(code)
    with contextlib.chdir(folder):
        return runpy.run_path(str(script), run_name="__main__")
