"""Folders of data for the tests: the real files where KFSVD_DATA holds them, and no way out to the network."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from suite.problems.data import faces, mnist
from suite.problems.data.folders import VARIABLE, Folders

NEEDED = (*(file.places for file in mnist.FILES), faces.OLIVETTI)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("real_data"):
        folder = os.environ.get(VARIABLE)
        if not folder:
            pytest.skip(f"{VARIABLE} is not set: it names the folder with the MNIST and Olivetti files")
        folders = Folders(Path(folder), Path(folder))
        lacking = [places[0] for places in NEEDED if folders.find(*places) is None]
        if lacking:
            pytest.skip(f"{VARIABLE} lacks {', '.join(lacking)}")


@pytest.fixture(scope="session")
def real_folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """The real files, and a cache of this test run."""
    return Folders(Path(os.environ[VARIABLE]), tmp_path_factory.mktemp("cache"))


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """Two empty folders."""
    for name in ("data", "cache"):
        (tmp_path / name).mkdir()
    return Folders(tmp_path / "data", tmp_path / "cache")


@pytest.fixture(scope="session")
def closed_address() -> str:
    """An address that refuses connections at once."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}/"


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, closed_address: str, tmp_path: Path) -> str:
    """No mirror answers and npm is not installed; the address of the mirrors."""
    monkeypatch.setattr(mnist, "MIRRORS", (closed_address,))
    monkeypatch.setattr(faces, "MAT_URLS", (closed_address,))
    monkeypatch.setenv("PATH", str(tmp_path))
    return closed_address
