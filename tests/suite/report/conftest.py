"""Reports whose figures are not drawn."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==")


@pytest.fixture
def sketched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every figure is one pixel: for tests of the pages that name them."""
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda _, file, **__: Path(file).write_bytes(PIXEL))
