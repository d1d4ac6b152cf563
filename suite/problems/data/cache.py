"""Arrays that are made once and kept: written atomically, memory-mapped, never made by two processes at once."""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from suite.errors import DataMissingError, SuiteError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from suite.problems.data.folders import Folders


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """Keep other processes from making `target` meanwhile; its folder exists inside.

    Raises:
        DataMissingError: the folder cannot be written.

    """
    from filelock import FileLock

    lock = FileLock(target.with_name(target.name + ".lock"))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise DataMissingError(f"the data cache {target.parent} cannot be written: {error}") from None
    try:
        yield
    finally:
        lock.release()


def built(folders: Folders, name: str, expected: str, make: Callable[[], NDArray[Any]]) -> Path:
    """The .npy file `name` with the right content: as it lies in either folder, else made into the cache.

    Args:
        folders: where to look.
        name: of the file.
        expected: the SHA-256 of the array's bytes in hex.
        make: makes the array.

    Raises:
        DataMissingError: the cache cannot be written, or `make` lacks its sources.
        SuiteError: what was made is not what it should be.

    """
    for path in folders.places(name):
        if array_sha256(path) == expected:
            return path
    target = folders.cache / name
    with locked(target):
        if not target.is_file() or array_sha256(target) != expected:
            actual = _write(target, make(), expected)
            if actual != expected:
                raise SuiteError(
                    f"{name}, made here, has the checksum {actual[:12]}… instead of {expected[:12]}…: "
                    "NumPy or SciPy on this machine compute it differently; constraints.txt has versions that agree"
                )
    return target


def converted(folders: Folders, source: Path, make: Callable[[Path], NDArray[Any]]) -> Path:
    """A .npy file in the cache, made from `source` once for each state of that file.

    Raises:
        DataMissingError: the cache cannot be written.
        SuiteError: `source` cannot be read as what it should be.

    """
    state = source.stat()
    target = folders.cache / f"{source.stem}-{state.st_size:x}-{state.st_mtime_ns:x}.npy"
    with locked(target):
        if not target.is_file():
            try:
                array = make(source)
            except Exception as error:  # of a damaged file, SciPy's reader raises whatever its parts raise
                raise SuiteError(f"{source} cannot be read: {error!r}") from None
            _write(target, array, None)
    return target


def map_array(path: Path) -> NDArray[Any]:
    """A .npy file, memory-mapped: pages are read as they are used, and copied where they are written to."""
    import numpy as np

    array: NDArray[Any] = np.load(path, mmap_mode="c", allow_pickle=False)
    return array


def sha256(array: NDArray[Any]) -> str:
    """The SHA-256 of an array's bytes in C order, in hex."""
    import numpy as np

    return hashlib.sha256(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data).hexdigest()


def array_sha256(path: Path) -> str:
    """The SHA-256 of the bytes of a .npy file's array, in hex; of nothing where it is no such file."""
    try:
        return sha256(map_array(path))
    except (OSError, ValueError, EOFError):  # damaged or cut short
        return hashlib.sha256().hexdigest()


def _write(target: Path, array: NDArray[Any], expected: str | None) -> str:
    """Write `target` unless the array is not the expected one; its SHA-256."""
    import numpy as np

    actual = sha256(array)
    if expected in (None, actual):
        part = target.with_name(target.name + ".part")
        with part.open("wb") as file:
            np.save(file, array)
        os.replace(part, target)
    return actual
