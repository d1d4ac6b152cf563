"""Provenance says what a figure depends on, and nothing about who measured it where."""

from __future__ import annotations

import dataclasses
import getpass
import os
import subprocess
from pathlib import Path

import pytest
import torch

import kfsvd
from suite.environment import _blas, _checkout, current_environment


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    return subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    package = tmp_path / "kfsvd"
    package.mkdir()
    (package / "__init__.py").write_text("")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "kfsvd")
    git(tmp_path, "commit", "-qm", "first")
    return tmp_path


def test_this_machine() -> None:
    found = current_environment()
    assert found.torch == torch.__version__
    assert found.kfsvd == kfsvd.__version__
    assert 1 <= found.cores <= (os.cpu_count() or 1)
    assert found.memory_bytes is None or found.memory_bytes > 2**28
    assert (found.gpus is None) == (torch.cuda.device_count() == 0)
    assert found == current_environment(), "the same twice, so that it is stored once"


def test_it_tells_neither_paths_nor_the_user() -> None:
    text = " ".join(str(value) for value in dataclasses.asdict(current_environment()).values())
    assert str(Path.home()) not in text
    assert str(Path(kfsvd.__file__).parents[1]) not in text
    assert getpass.getuser() not in text.split()


def test_commit_and_changes_of_a_checkout(checkout: Path) -> None:
    package = checkout / "kfsvd"
    commit = git(checkout, "rev-parse", "HEAD")
    assert _checkout(package) == (commit, False)
    (checkout / "notes.txt").write_text("not of the packages")
    assert _checkout(package) == (commit, False)
    (package / "__init__.py").write_text("changed = True")
    assert _checkout(package) == (commit, True)


def test_an_installed_package_has_no_commit_even_inside_another_repository(checkout: Path) -> None:
    installed = checkout / "lib" / "kfsvd"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("")
    assert _checkout(installed) == (None, None)


def test_without_git_there_is_no_commit(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert _checkout(checkout / "kfsvd") == (None, None)


@pytest.mark.parametrize(
    ("configuration", "name"),
    [
        ("PyTorch\n  - Intel(R) oneAPI Math Kernel Library Version 2024.2\n  - OpenMP", "Intel(R) oneAPI Math Kernel"),
        ("PyTorch\n  - Build settings: BLAS_INFO=open, BUILD_TYPE=Release", "open"),
        ("PyTorch", "unknown"),
    ],
)
def test_the_library_that_multiplies_matrices(configuration: str, name: str) -> None:
    assert _blas(configuration).startswith(name)
