"""Against a stand-in for the npm client: the packing is what matters here, not the registry."""

from __future__ import annotations

import hashlib
import io
import os
import sys
import tarfile
from typing import TYPE_CHECKING

import pytest

from suite.problems.data import npm
from suite.problems.data.mirrors import silent

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONTENTS = {"package/a.bin": b"first", "package/deep/b.bin": b"second", "package/package.json": b"{}"}
WANTED = {hashlib.sha256(b"first").hexdigest(): "one", hashlib.sha256(b"second").hexdigest(): "two"}


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put a client on the path that runs some Python in the folder where it is called."""

    def put(program: str) -> None:
        client = tmp_path / "bin" / "npm"
        client.parent.mkdir()
        client.write_text(f"#!{sys.executable}\nimport shutil, sys, time\n{program}\n")
        client.chmod(0o755)
        monkeypatch.setenv("PATH", str(client.parent))

    return put


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "some-data-1.0.0.tgz"
    with tarfile.open(path, "w:gz") as tar:
        for name, content in CONTENTS.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def test_files_are_known_by_their_content(install: Callable[[str], None], archive: Path, folder: Path) -> None:
    install(f"assert sys.argv[1:3] == ['pack', 'some-data@1.0.0'], sys.argv\nshutil.copy({str(archive)!r}, '.')")
    told = []
    assert npm.unpack("some-data@1.0.0", WANTED, folder, lambda *step: told.append(step)) is None
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"one": b"first", "two": b"second"}
    assert told == [("one", 5, 5), ("two", 6, 6)]


def test_what_the_package_lacks_is_named(install: Callable[[str], None], archive: Path, folder: Path) -> None:
    install(f"shutil.copy({str(archive)!r}, '.')")
    assert npm.unpack("some-data", {**WANTED, "0" * 64: "three"}, folder, silent) == "it lacks three"


def test_without_the_client_nothing_is_tried(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(folder))
    assert npm.unpack("some-data", WANTED, folder, silent) == "npm is not installed"


def test_the_clients_complaint_is_passed_on(install: Callable[[str], None], folder: Path) -> None:
    install("print('no such package', file=sys.stderr)\nsys.exit(1)")
    assert npm.unpack("some-data", WANTED, folder, silent) == "no such package"


def test_a_client_that_says_nothing_gives_its_status(install: Callable[[str], None], folder: Path) -> None:
    install("sys.exit(7)")
    assert npm.unpack("some-data", WANTED, folder, silent) == "npm ended with status 7"


@pytest.mark.parametrize("program", ["", "open('some-data.tgz', 'w').write('words')"])
def test_a_client_that_packs_nothing_sensible_is_no_crash(
    install: Callable[[str], None], folder: Path, program: str
) -> None:
    install(program)
    assert npm.unpack("some-data", WANTED, folder, silent)
    assert os.listdir(folder) == []


def test_a_client_that_hangs_is_given_up(
    install: Callable[[str], None], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("time.sleep(60)")
    monkeypatch.setattr(npm, "TIMEOUT_SECONDS", 0.5)
    assert "timed out" in (npm.unpack("some-data", WANTED, folder, silent) or "")
