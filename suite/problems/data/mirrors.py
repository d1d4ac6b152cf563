"""Getting files from mirrors: resumable, checked against SHA-256, and only ever complete under their name."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from suite.errors import DataMissingError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Report = Callable[[str, int, int | None], None]
"""Called with the name of a file that is being fetched or made, its bytes so far, and all its bytes where known."""

TIMEOUT_SECONDS = 10.0  # of silence
MOST_ATTEMPTS = 20  # at one mirror, each of which must have brought something
_CHUNK = 1 << 18  # bytes


def silent(_file: str, _done: int, _total: int | None) -> None:
    """A report to nobody."""


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def missing(what: str, failures: Sequence[str], remedy: str) -> DataMissingError:
    """One error that says what was tried and which file to put where.

    Args:
        what: the data set, and perhaps the file, that is wanted.
        failures: one line for each way that was tried.
        remedy: a sentence that names the file and the folder.

    """
    tried = "".join(f"\n  tried {line}" for line in failures)
    return DataMissingError(f"{what} is not at hand and could not be fetched{tried}\n  {remedy}")


def download(urls: Sequence[str], expected: str, target: Path, report: Report) -> list[str]:
    """Fetch `target` from the first mirror that has the right bytes.

    What has arrived is kept in a `.part` file beside it, from which a broken download goes on, now or in a later
    process; a file whose checksum is wrong is thrown away; `target` appears only when it is complete and right.

    Args:
        urls: mirrors, in order.
        expected: the SHA-256 in hex.
        target: the file to write, in a folder that exists.
        report: told of the progress.

    Returns:
        One line for each mirror that failed; none where the file arrived.

    """
    failures = []
    for url in urls:
        failure = _download(url, expected, target, report)
        if failure is None:
            return []
        failures.append(f"{url}: {failure}")
    return failures


def _download(url: str, expected: str, target: Path, report: Report) -> str | None:
    """Fetch `target` from one mirror; what went wrong."""
    import http.client

    part = target.with_name(target.name + ".part")
    for _ in range(MOST_ATTEMPTS):
        before = part.stat().st_size if part.exists() else 0
        try:
            _append(url, part, report, target.name)
        except (OSError, http.client.HTTPException) as error:  # OSError: names, time-outs, HTTP statuses, full disks
            if part.exists() and part.stat().st_size > before:
                continue  # the connection broke, but brought something: go on from there
            return str(getattr(error, "reason", error))
        actual = file_sha256(part)
        if actual == expected:
            os.replace(part, target)
            return None
        part.unlink()
        if before == 0:
            return f"wrong checksum {actual[:12]}…, expected {expected[:12]}…"
        # What lay there before may have been of another file: once more, from the start.
    return f"the connection broke {MOST_ATTEMPTS} times"


def _append(url: str, part: Path, report: Report, name: str) -> None:
    """Fetch the rest of `part`, or all of it where the server does not resume.

    Raises:
        OSError: no connection, a refusal, or an early end; what has arrived is in `part`.

    """
    import urllib.error
    import urllib.request

    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "kfsvd-bench"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and have:  # there is no more: the checksum will tell whether that is right
            return
        raise
    with response:
        resumed = response.status == 206
        have = have if resumed else 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length and length.isdecimal() else None
        with part.open("ab" if resumed else "wb") as file:
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                have += len(chunk)
                report(name, have, total)
    if total is not None and have < total:
        raise OSError(f"the connection ended after {have} of {total} bytes")
