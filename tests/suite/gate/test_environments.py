import errno
import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from suite.errors import SuiteError
from suite.gate.environments import Packages, python_of


def sources(folder: Path, dependencies: list[str], constraints: str = "") -> Path:
    folder.mkdir()
    (folder / "pyproject.toml").write_text(f"[project]\nname = 'x'\nversion = '1'\ndependencies = {dependencies}\n")
    (folder / "constraints.txt").write_text(constraints)
    return folder


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A package of one module, from no index."""
    path, info = tmp_path / "tiny-1.0-py3-none-any.whl", "tiny-1.0.dist-info"
    with ZipFile(path, "w") as archive:
        archive.writestr("tiny.py", "VALUE = 42\n")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return path


def test_the_same_packages_need_no_environment(tmp_path: Path) -> None:
    present = sources(tmp_path / "present", ["torch>=2.4", "numpy"], "numpy==2.4.6  # arrays\nruff==0.5\n")
    other = sources(tmp_path / "other", ["numpy", "torch>=2.4"], "ruff==0.4\nnumpy==2.4.6\n")
    assert Packages.of(other) == Packages.of(present), "neither order nor a tool of the developers counts"
    assert python_of(other, present) == Path(sys.executable)


def test_a_pin_of_what_a_dependency_needs_counts(tmp_path: Path) -> None:
    present = sources(tmp_path / "present", ["torch"], "sympy==1.14\n")
    other = sources(tmp_path / "other", ["torch"], "sympy==1.13\n")
    assert Packages.of(other).constraints == ("sympy==1.13",)
    assert Packages.of(other).key != Packages.of(present).key


@pytest.mark.slow
def test_other_packages_get_an_environment_once(
    tmp_path: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    present, other = sources(tmp_path / "present", []), sources(tmp_path / "other", [f"tiny @ {wheel.as_uri()}"])
    python = python_of(other, present)
    found = subprocess.run([python, "-c", "import tiny; print(tiny.VALUE)"], capture_output=True, text=True, check=True)
    assert found.stdout == "42\n"
    assert "other packages" in capsys.readouterr().err
    assert python_of(other, present) == python
    assert capsys.readouterr().err == "", "it is built once"


@pytest.mark.slow
def test_packages_that_are_nowhere_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    gone = (tmp_path / "gone-1.0-py3-none-any.whl").as_uri()
    present, other = sources(tmp_path / "present", []), sources(tmp_path / "other", [f"gone @ {gone}"])
    for _ in range(2):
        with pytest.raises(SuiteError, match=r"environment of the other revision cannot be built: .*gone"):
            python_of(other, present)


def test_a_folder_that_takes_no_environment_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("venv.create", full)
    present, other = sources(tmp_path / "present", []), sources(tmp_path / "other", ["numpy"])
    with pytest.raises(SuiteError, match=r"cannot be built in .*No space left on device"):
        python_of(other, present)


def test_a_pyproject_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    other = sources(tmp_path / "other", ["not a requirement!"])
    with pytest.raises(SuiteError, match=r"pyproject\.toml of the other revision"):
        Packages.of(other)


def test_constraints_that_cannot_be_read_are_an_error(tmp_path: Path) -> None:
    other = sources(tmp_path / "other", ["torch"], "torch==2.13.0\n-r more.txt\n")
    with pytest.raises(SuiteError, match=r"constraints\.txt of the other revision cannot be read: .*-r more\.txt"):
        Packages.of(other)
