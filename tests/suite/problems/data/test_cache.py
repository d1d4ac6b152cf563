from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from filelock import FileLock

from suite.errors import DataMissingError, SuiteError
from suite.problems.data.cache import array_sha256, built, converted, locked, map_array, sha256
from suite.problems.data.folders import Folders
from tests.suite.helpers import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

ARRAY = np.arange(12, dtype=np.uint8).reshape(3, 4)

BUILD = """
import sys, time
from pathlib import Path
import numpy as np
from suite.problems.data.cache import built
from suite.problems.data.folders import Folders

folder = Path(sys.argv[1])

def make():
    with (folder / "made").open("a") as made:
        made.write("once ")
    time.sleep(0.5)
    return np.arange(12, dtype=np.uint8).reshape(3, 4)

print("ready", flush=True)
sys.stdin.readline()
print(built(Folders(None, folder), "array.npy", sys.argv[2], make))
"""


def counting() -> tuple[list[int], Callable[..., NDArray[Any]]]:
    calls: list[int] = []

    def make(*_: object) -> NDArray[Any]:
        calls.append(1)
        return ARRAY

    return calls, make


def test_a_checksum_is_that_of_the_bytes_in_c_order() -> None:
    assert sha256(ARRAY) == hashlib.sha256(bytes(range(12))).hexdigest()
    assert sha256(np.asfortranarray(ARRAY)) == sha256(ARRAY)
    assert sha256(ARRAY[:, ::2]) == hashlib.sha256(bytes(range(0, 12, 2))).hexdigest()


def test_an_array_is_made_once_and_kept(folders: Folders) -> None:
    calls, make = counting()
    paths = {built(folders, "array.npy", sha256(ARRAY), make) for _ in range(3)}
    assert paths == {folders.cache / "array.npy"}
    assert len(calls) == 1
    np.testing.assert_array_equal(map_array(folders.cache / "array.npy"), ARRAY)
    assert array_sha256(folders.cache / "array.npy") == sha256(ARRAY)
    assert not list(folders.cache.glob("*.part"))


def test_an_array_in_the_users_folder_is_taken_as_it_is(folders: Folders) -> None:
    assert folders.data is not None
    np.save(folders.data / "array.npy", ARRAY)
    calls, make = counting()
    assert built(folders, "array.npy", sha256(ARRAY), make) == folders.data / "array.npy"
    assert calls == []
    assert list(folders.cache.iterdir()) == []


@pytest.mark.parametrize("damage", ["other content", "cut short", "empty", "not NumPy's"])
def test_a_damaged_array_is_made_again(folders: Folders, damage: str) -> None:
    calls, make = counting()
    path = built(folders, "array.npy", sha256(ARRAY), make)
    whole = path.read_bytes()
    path.write_bytes(
        {"other content": whole[:-1] + b"x", "cut short": whole[:-5], "empty": b"", "not NumPy's": b"words"}[damage]
    )
    assert array_sha256(path) != sha256(ARRAY)
    assert built(folders, "array.npy", sha256(ARRAY), make) == path
    assert len(calls) == 2
    np.testing.assert_array_equal(map_array(path), ARRAY)


def test_what_is_made_differently_here_is_an_error_and_not_kept(folders: Folders) -> None:
    with pytest.raises(SuiteError, match=r"array\.npy, made here, has the checksum .*constraints\.txt"):
        built(folders, "array.npy", "0" * 64, lambda: ARRAY)
    assert folders.find("array.npy") is None


def test_two_processes_make_one_array_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", BUILD, str(tmp_path), sha256(ARRAY)]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:  # both are at the gate: open it
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        output, errors = process.communicate(timeout=DEADLINE)
        assert (process.returncode, output.strip(), errors) == (0, str(tmp_path / "array.npy"), "")
    assert (tmp_path / "made").read_text() == "once "
    np.testing.assert_array_equal(np.load(tmp_path / "array.npy"), ARRAY)


def test_a_mapped_array_can_be_written_to_without_changing_the_file(folders: Folders) -> None:
    path = built(folders, "array.npy", sha256(ARRAY), lambda: ARRAY)
    mapped = map_array(path)
    mapped[0, 0] = 200
    assert array_sha256(path) == sha256(ARRAY)


def test_a_conversion_is_kept_until_its_source_changes(folders: Folders) -> None:
    assert folders.data is not None
    source = folders.data / "original.mat"
    source.write_bytes(b"one")
    calls, make = counting()
    first = converted(folders, source, make)
    assert converted(folders, source, make) == first
    assert len(calls) == 1
    assert first.parent == folders.cache
    os.utime(source, ns=(1, 1))
    assert converted(folders, source, make) != first
    assert len(calls) == 2


@pytest.mark.parametrize("error", [OSError("cut"), ValueError("odd"), KeyError("bdata"), NotImplementedError("v7.3")])
def test_a_source_that_cannot_be_read_is_named(folders: Folders, error: Exception) -> None:
    source = folders.cache / "original.mat"
    source.write_bytes(b"one")

    def make(_: Path) -> NDArray[Any]:
        raise error

    with pytest.raises(SuiteError, match=r"original\.mat cannot be read: ") as caught:
        converted(folders, source, make)
    assert str(error) in str(caught.value)
    assert not list(folders.cache.glob("*.npy"))


def test_a_cache_that_cannot_be_written_is_missing_data(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    folders = Folders(None, tmp_path / "file" / "cache")
    with pytest.raises(DataMissingError, match=r"the data cache .*file/cache cannot be written"):
        built(folders, "array.npy", sha256(ARRAY), lambda: ARRAY)


def test_a_lock_makes_its_folder_and_is_released_after_an_error(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "down" / "file"

    def fail() -> None:
        with locked(target):
            assert target.parent.is_dir()
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail()
    with FileLock(target.with_name("file.lock"), timeout=0):
        pass
