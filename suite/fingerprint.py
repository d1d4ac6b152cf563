"""What identifies the library's code: a result belongs to the sources that produced it."""

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path


@cache
def library_fingerprint() -> str:
    """First 16 hex digits of the SHA-256 over paths and contents of all of `kfsvd`'s Python files.

    The library is found, not imported, so torch is not loaded. Line ends count as written by Unix.

    Raises:
        ModuleNotFoundError: `kfsvd` is not installed.
    """
    found = find_spec("kfsvd")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("kfsvd is not installed", name="kfsvd")
    return fingerprint(Path(found.submodule_search_locations[0]))


def fingerprint(folder: Path) -> str:
    """The same for the Python files under any `folder`."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py"), key=lambda path: path.relative_to(folder).as_posix()):
        name = path.relative_to(folder).as_posix().encode()
        content = path.read_bytes().replace(b"\r\n", b"\n")
        digest.update(b"%d:%b%d:%b" % (len(name), name, len(content), content))
    return digest.hexdigest()[:16]
