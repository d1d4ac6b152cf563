from __future__ import annotations

from pathlib import Path

import pytest

from suite.errors import SuiteError
from suite.problems.data.folders import VARIABLE, Folders


def test_the_folder_that_is_asked_for_comes_before_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, variable = tmp_path / "asked", tmp_path / "variable"
    asked.mkdir()
    variable.mkdir()
    monkeypatch.setenv(VARIABLE, str(variable))
    assert Folders.default(asked).data == asked
    assert Folders.default().data == variable
    monkeypatch.setenv(VARIABLE, "")
    assert Folders.default().data is None
    monkeypatch.delenv(VARIABLE)
    assert Folders.default().data is None


def test_the_cache_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    cache = Folders.default().cache
    assert cache.is_absolute()
    assert cache.name == "kfsvd-bench"


def test_a_data_folder_that_does_not_exist_is_an_error_that_says_who_named_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = tmp_path / "absent"
    with pytest.raises(SuiteError, match=r"the data folder of --data-dir does not exist: .*absent"):
        Folders.default(absent)
    monkeypatch.setenv(VARIABLE, str(absent))
    with pytest.raises(SuiteError, match=r"the data folder of KFSVD_DATA does not exist: .*absent"):
        Folders.default()


def test_files_are_looked_for_in_the_users_folder_first(folders: Folders) -> None:
    data, cache = folders.data, folders.cache
    assert data is not None
    assert folders.find("a", "b") is None
    (cache / "a").touch()
    assert folders.find("a", "b") == cache / "a"
    (data / "b").touch()
    assert folders.find("a", "b") == data / "b"
    (data / "a").touch()
    assert list(folders.places("a", "b")) == [data / "a", data / "b", cache / "a"]


def test_folders_that_lack_a_file_are_listed(folders: Folders) -> None:
    assert folders.lacking("a", "b") == [f"{folders.data}: no a", f"{folders.cache}: no a"]
    (folders.cache / "b").touch()
    assert folders.lacking("a", "b") == [f"{folders.data}: no a"]
    assert Folders(None, folders.cache).lacking("a", "b") == []


def test_a_folder_is_no_file(folders: Folders) -> None:
    (folders.cache / "a").mkdir()
    assert folders.find("a") is None


def test_without_a_folder_of_the_user_there_is_the_cache(tmp_path: Path) -> None:
    folders = Folders(None, tmp_path)
    (tmp_path / "a").touch()
    assert folders.find("a") == tmp_path / "a"
    assert folders.home == tmp_path
    assert Folders(Path("given"), tmp_path).home == Path("given")
