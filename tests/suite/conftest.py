import base64
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.suite import postgres

PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==")


@pytest.fixture
def sketched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every figure is one pixel: for tests of the pages that name them."""
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda _, file, **__: Path(file).write_bytes(PIXEL))


@pytest.fixture
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Server]:
    """A server, started once where one is installed."""
    if (why := postgres.missing()) is not None:
        if os.environ.get("KFSVD_REQUIRE_POSTGRES") == "1":
            pytest.fail(f"KFSVD_REQUIRE_POSTGRES=1, but {why}")
        pytest.skip(why)
    with postgres.server() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: postgres.Server) -> str:
    """An empty database of its own."""
    return postgres_server.database()
