"""Getting files: resumable downloads, checksums, atomic writes, and caches that two processes never build at once."""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from suite.errors import DataMissingError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

Report = Callable[[str, int, int | None], None]
"""Called with what is being fetched, the bytes so far, and the bytes in all where they are known."""

TIMEOUT_SECONDS = 10.0
_CHUNK = 1 << 18


def silent(_what: str, _done: int, _total: int | None) -> None:
    """A report to nobody."""


@dataclass(frozen=True)
class Check:
    """A file at hand against its checksum."""

    file: Path
    expected: str
    actual: str

    @property
    def ok(self) -> bool:
        """Whether it is what it should be."""
        return self.expected == self.actual


def sha256(data: bytes) -> str:
    """The SHA-256 of some bytes, in hex."""
    return hashlib.sha256(data).hexdigest()


def download(urls: list[str], expected: str, target: Path, report: Report) -> list[str]:
    """Fetch `target` from the first mirror that has the right bytes.

    An interrupted download is resumed where it stopped; a file whose checksum is wrong is thrown away; `target`
    appears only when it is complete and right.

    Args:
        urls: mirrors, in order.
        expected: the SHA-256 in hex.
        target: the file to write.
        report: told of the progress.

    Returns:
        What was tried in vain: one line a mirror, none where the file arrived.

    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    tried = []
    for url in urls:
        try:
            _append(url, part, report, target.name)
        except (OSError, urllib.error.URLError) as error:  # URLError covers HTTP statuses, names and time-outs
            tried.append(f"{url}: {getattr(error, 'reason', error)}")
            continue
        actual = sha256(part.read_bytes())
        if actual == expected:
            os.replace(part, target)
            return []
        part.unlink()
        tried.append(f"{url}: wrong checksum {actual[:12]}…, expected {expected[:12]}…")
    return tried


def _append(url: str, part: Path, report: Report, what: str) -> None:
    """Fetch the rest of `part`, or all of it where the server does not resume."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing is left to fetch: the checksum will tell
            error.close()
            return
        raise
    with response:
        resumed = response.status == 206
        have = have if resumed else 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        with part.open("ab" if resumed else "wb") as file:
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                have += len(chunk)
                report(what, have, total)
    if total is not None and have < total:
        raise OSError(f"the connection ended after {have} of {total} bytes")


@contextmanager
def building(target: Path) -> Iterator[bool]:
    """Whether `target` is still to be made, while no other process makes it.

    Raises:
        DataMissingError: the cache cannot be written.

    """
    from filelock import FileLock

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(target.with_name(target.name + ".lock"))
        lock.acquire()
    except OSError as error:
        raise DataMissingError(f"the data cache {target.parent} cannot be written: {error}") from None
    try:
        yield not target.exists()
    finally:
        lock.release()


def save_array(target: Path, array: NDArray[Any]) -> None:
    """Write a .npy file that appears only when it is complete."""
    import numpy as np

    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    with part.open("wb") as file:
        np.save(file, array)
    os.replace(part, target)


def map_array(path: Path) -> NDArray[Any]:
    """A .npy file, memory-mapped; copied page by page only where it is written to."""
    import numpy as np

    array: NDArray[np.generic] = np.load(path, mmap_mode="c")
    return array


def missing(name: str, tried: list[str], remedy: str) -> DataMissingError:
    """One error that says what was tried and which file to put where."""
    attempts = "".join(f"\n  tried {line}" for line in tried)
    return DataMissingError(f"data set {name!r} is not at hand and could not be fetched.{attempts}\n  {remedy}")
