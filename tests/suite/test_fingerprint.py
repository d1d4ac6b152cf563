import subprocess
import sys
from pathlib import Path

import pytest

from suite.environment import fingerprint, library_fingerprint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "part").mkdir()
    (tmp_path / "a.py").write_bytes(b"x = 1\n")
    (tmp_path / "part" / "b.py").write_bytes(b"y = 2\n")
    return tmp_path


def test_it_is_pinned(folder: Path) -> None:
    assert fingerprint(folder) == "f269e5d29447754e"


def test_it_changes_with_contents(folder: Path) -> None:
    before = fingerprint(folder)
    (folder / "part" / "b.py").write_bytes(b"y = 3\n")
    assert fingerprint(folder) != before


def test_it_changes_with_names(folder: Path) -> None:
    before = fingerprint(folder)
    (folder / "a.py").rename(folder / "c.py")
    assert fingerprint(folder) != before


def test_what_moves_from_one_file_to_another_changes_it(folder: Path) -> None:
    (folder / "a.py").write_bytes(b"ab")
    (folder / "part" / "b.py").write_bytes(b"c")
    before = fingerprint(folder)
    (folder / "a.py").write_bytes(b"a")
    (folder / "part" / "b.py").write_bytes(b"bc")
    assert fingerprint(folder) != before


def test_line_ends_and_other_files_do_not_matter(folder: Path) -> None:
    before = fingerprint(folder)
    (folder / "a.py").write_bytes(b"x = 1\r\n")
    (folder / "notes.txt").write_text("nothing")
    assert fingerprint(folder) == before


def test_the_library_is_found_without_being_imported() -> None:
    program = (
        "import sys; from suite.environment import library_fingerprint as f; print(f());"
        "assert not {'kfsvd', 'torch'} & set(sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == library_fingerprint()


def test_a_missing_library_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suite.environment.find_spec", lambda name: None)
    library_fingerprint.cache_clear()
    with pytest.raises(ModuleNotFoundError, match="kfsvd is not installed"):
        library_fingerprint()
