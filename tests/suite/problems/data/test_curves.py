from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.io import savemat

from suite.errors import SuiteError
from suite.problems.data import curves
from suite.problems.data.cache import map_array, sha256
from suite.problems.data.folders import Folders
from suite.problems.data.mirrors import silent
from suite.problems.problem import entropy

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """A cache that holds the generated set."""
    folders = Folders(None, tmp_path_factory.mktemp("curves"))
    curves.fetch(folders, silent)
    return folders


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> NDArray[np.uint8]:
    """Three images to train and two to test, and what is generated of that size."""
    monkeypatch.setattr(curves, "INFO", replace(curves.INFO, train=3, test=2))
    images = curves.generate(5, curves.SEED)
    monkeypatch.setattr(curves, "SHA256", sha256(images))
    return images


def write_original(path: Path, train: NDArray[Any], test: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"bdata": train.reshape(len(train), -1), "bdatatest": test.reshape(len(test), -1)})


def test_the_generated_set_is_pinned(generated: Folders) -> None:
    """Its losses are compared across machines: a change of it makes every earlier result another problem's."""
    images = map_array(generated.cache / curves.GENERATED)
    assert images.shape == (30_000, 28, 28)
    assert images.dtype == np.uint8
    assert sha256(images) == "a56a6271f67d5b831374ed464a42b5a428d69dee50b41cab79d0c9b79255d80a"


def test_the_generated_set_is_split_as_said_and_named_synthetic(generated: Folders) -> None:
    images = curves.load(generated)
    assert images.name == "curves-synthetic"
    assert (len(images.train), len(images.test)) == (20_000, 10_000)
    assert images.train_labels is None
    whole = map_array(generated.cache / curves.GENERATED)
    np.testing.assert_array_equal(images.train[-1], whole[19_999])
    np.testing.assert_array_equal(images.test[0], whole[20_000])
    assert images.train.max() * images.scale == pytest.approx(1, abs=0.01)


def test_its_entropy_floor_is_that_of_the_calibration(generated: Folders) -> None:
    images = curves.load(generated)
    assert entropy(images.train.reshape(-1, 784), images.scale) == pytest.approx(28.3, abs=0.1)
    assert entropy(images.test.reshape(-1, 784), images.scale) == pytest.approx(28.3, abs=0.2)


def test_its_principal_components_are_those_of_the_calibration(generated: Folders) -> None:
    """Squared error of 18 components: 5.90 is printed for the original."""
    images = curves.load(generated)
    pixels = images.train.reshape(-1, 784) * np.float32(images.scale)
    variances = np.linalg.eigvalsh(np.cov(pixels, rowvar=False))
    assert variances[:-18].sum() == pytest.approx(5.90, abs=0.05)


def test_a_curve_is_where_its_points_put_it() -> None:
    """The first image against the formula, pixel by pixel."""
    rng = np.random.Generator(np.random.PCG64(7))
    (points,) = rng.uniform(4.8, 22.2, size=(1, 3, 2))
    x, y = points[:, 0], np.sort(points[:, 1])
    (image,) = curves.generate(1, seed=7)
    for row, column in [(10, 10), (14, 14), (round(y[0]), round(x[0])), (round(y[2]), round(x[2])), (0, 0), (12, 17)]:
        distances = []
        for t in np.linspace(0, 1, 64):
            weights = (1 - t) ** 2, 2 * t * (1 - t), t**2
            distances.append(np.hypot(np.dot(weights, x) - column, np.dot(weights, y) - row))
        assert image[row, column] == round(255 * np.exp(-(min(distances) ** 2) / (2 * 0.75**2)))
    assert image[round(y[0]), round(x[0])] > 100  # the curve starts there


def test_generation_is_a_pure_function() -> None:
    np.random.seed(0)  # noqa: NPY002 - the state that must not matter
    first = curves.generate(3, seed=2)
    np.testing.assert_array_equal(curves.generate(3, seed=2), first)
    assert not np.array_equal(curves.generate(3, seed=3), first)


def test_progress_is_told_in_bytes_up_to_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "_CHUNK", 2)
    told = []
    curves.generate(5, 0, lambda *step: told.append(step))
    assert told == [(curves.GENERATED, count * 784, 5 * 784) for count in (2, 4, 5)]


def test_images_do_not_depend_on_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = curves.generate(5, 0)
    monkeypatch.setattr(curves, "_CHUNK", 2)
    np.testing.assert_array_equal(curves.generate(5, 0), whole)


def test_the_kept_file_is_used_again(
    folders: Folders, small: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = curves.fetch(folders, silent)
    assert path == folders.cache / curves.GENERATED
    monkeypatch.setattr(curves, "generate", print)  # which makes no array
    images = curves.load(folders)
    np.testing.assert_array_equal(np.concatenate([images.train, images.test]), small)


def test_a_damaged_file_is_found_out_and_made_again(folders: Folders, small: NDArray[np.uint8]) -> None:
    (path,) = curves.fetch(folders, silent)
    np.save(path, small + 1)
    (check,) = curves.verify(folders)
    assert not check.ok
    curves.load(folders)
    (check,) = curves.verify(folders)
    assert check.ok
    assert check.file == path


def test_it_says_where_it_is(folders: Folders, small: NDArray[np.uint8]) -> None:
    assert curves.find(folders) == ("curves-synthetic", "generated when first used")
    (path,) = curves.fetch(folders, silent)
    assert curves.find(folders) == ("curves-synthetic", str(path))


@pytest.mark.parametrize("place", curves.ORIGINAL)
def test_the_original_is_preferred(folders: Folders, small: NDArray[np.uint8], place: str) -> None:
    assert folders.data is not None
    curves.fetch(folders, silent)
    rng = np.random.default_rng(0)
    train, test = rng.random((3, 28, 28)), rng.random((2, 28, 28))
    write_original(folders.data / place, train, test)
    images = curves.load(folders)
    assert curves.find(folders) == ("curves", str(folders.data / place))
    assert images.name == "curves"
    np.testing.assert_allclose(images.train * np.float32(images.scale), train, atol=5e-4)  # half floats
    np.testing.assert_allclose(images.test * np.float32(images.scale), test, atol=5e-4)


def test_the_original_is_converted_once(
    folders: Folders, small: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert folders.data is not None
    write_original(folders.data / "digs3pts_1.mat", np.zeros((3, 784)), np.ones((2, 784)))
    first = curves.fetch(folders, silent)
    monkeypatch.setattr(curves, "read_original", None)  # calling it would fail
    assert curves.fetch(folders, silent) == first
    assert [path.parent for path in first] == [folders.cache]


@pytest.mark.parametrize("content", [b"", b"no MATLAB file at all, but long enough to have a header" * 10])
def test_an_original_that_is_none_is_named(folders: Folders, small: NDArray[np.uint8], content: bytes) -> None:
    assert folders.data is not None
    (folders.data / "digs3pts_1.mat").write_bytes(content)
    with pytest.raises(SuiteError, match=r"digs3pts_1\.mat cannot be read"):
        curves.load(folders)


def test_an_original_of_another_size_is_named(folders: Folders, small: NDArray[np.uint8]) -> None:
    assert folders.data is not None
    write_original(folders.data / "digs3pts_1.mat", np.zeros((4, 784)), np.ones((2, 784)))
    with pytest.raises(SuiteError, match=r"digs3pts_1\.mat cannot be read"):
        curves.load(folders)
