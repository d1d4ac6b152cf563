from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.io import savemat
from scipy.ndimage import correlate1d

from suite.errors import DataMissingError, SuiteError
from suite.problems.data import faces
from suite.problems.data.cache import sha256
from suite.problems.data.mirrors import file_sha256, silent
from tests.suite.problems.data.mirror import Mirror, serving

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from suite.problems.data.folders import Folders
    from suite.problems.data.images import Images

PORTRAITS = np.random.default_rng(0).integers(0, 256, (400, 64, 64), dtype=np.uint8)


@pytest.fixture(scope="module")
def rebuilt(real_folders: Folders) -> Images:
    return faces.load(real_folders)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> NDArray[np.uint8]:
    """400 images of noise that pass for Olivetti's, and two patches of each."""
    monkeypatch.setattr(faces, "PATCHES", 2)
    monkeypatch.setattr(faces, "INFO", replace(faces.INFO, train=500, test=200))
    monkeypatch.setattr(faces, "OLIVETTI_SHA256", sha256(PORTRAITS))
    monkeypatch.setattr(faces, "SHA256", sha256(faces.standardise(faces.cut(PORTRAITS, faces.SEED), 500)))
    return PORTRAITS


def write_mat(path: Path) -> None:
    """As the file on the web: every image a column, and that column by column."""
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"faces": PORTRAITS.transpose(0, 2, 1).reshape(400, 4096).T})


def write_npz(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, images=PORTRAITS)


def moments(images: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and second moments of the pixels, without the whole set in float64."""
    total, squares = np.zeros(625), np.zeros((625, 625))
    for start in range(0, len(images), 4096):
        chunk = images[start : start + 4096].reshape(-1, 625).astype(np.float32)
        total += chunk.sum(0, dtype=np.float64)
        squares += chunk.T @ chunk
    return total / len(images), squares / len(images)


@pytest.mark.real_data
def test_the_rebuilt_set_has_its_shape_and_name(rebuilt: Images) -> None:
    assert rebuilt.name == "faces-rebuilt"
    assert rebuilt.train.shape == (103_500, 25, 25)
    assert rebuilt.test.shape == (41_400, 25, 25)
    assert rebuilt.train.dtype == rebuilt.test.dtype == np.float16
    assert rebuilt.scale == 1
    assert isinstance(rebuilt.train, np.memmap)
    assert rebuilt.train_labels is None


@pytest.mark.real_data
def test_the_rebuilt_set_is_standardised_and_has_the_printed_principal_components(rebuilt: Images) -> None:
    """Squared error on test of 30 components: 135 is printed for the original."""
    mean, squares = moments(rebuilt.train)
    covariance = squares - np.outer(mean, mean)
    assert np.abs(mean).max() < 1e-3
    assert np.trace(covariance) / 625 == pytest.approx(1, abs=1e-3)
    _, directions = np.linalg.eigh(covariance)
    lost = directions[:, :-30]
    test_mean, test_squares = moments(rebuilt.test)
    about_mean = test_squares - np.outer(test_mean, mean) - np.outer(mean, test_mean) + np.outer(mean, mean)
    assert np.trace(lost.T @ about_mean @ lost) == pytest.approx(134.4, abs=0.3)


@pytest.mark.real_data
def test_the_rebuilt_set_is_pinned(rebuilt: Images, real_folders: Folders) -> None:
    """Its losses are compared across machines: a change of it makes every earlier result another problem's."""
    checks = {check.file.name: check for check in faces.verify(real_folders)}
    assert checks[faces.REBUILT].actual == "503eff031e11a2f2a073f50b6c9e77be9f5612908217160b9a5ae753cf875d89"
    assert all(check.ok for check in checks.values())
    assert len(checks) >= 2  # and the Olivetti images


def test_a_blur_is_a_convolution_with_a_gaussian() -> None:
    image = np.random.default_rng(0).random((30, 20))
    x = np.arange(-12, 13)
    for sigma in (1.5, 2.0):  # wide enough to be sampled at whole pixels
        kernel = np.exp(-(x**2) / (2 * sigma**2))
        kernel /= kernel.sum()
        expected = correlate1d(correlate1d(image, kernel, 0, mode="reflect"), kernel, 1, mode="reflect")
        np.testing.assert_allclose(faces.blur(image[None], sigma)[0], expected, atol=1e-6)


@pytest.mark.parametrize("sigma", [0.45, 1.0])
def test_a_blur_has_the_variance_that_is_asked_for(sigma: float) -> None:
    point = np.zeros((1, 65, 65))
    point[0, 32, 32] = 1
    (blurred,) = faces.blur(point, sigma)
    frequency = 2 * np.pi * np.fft.rfftfreq(65)
    spectrum = np.abs(np.fft.rfft(blurred.sum(0)))
    np.testing.assert_allclose(spectrum[:8], np.exp(-((sigma * frequency[:8]) ** 2) / 2), atol=1e-3)
    assert blurred.sum() == pytest.approx(1)


def test_a_patch_is_a_rotated_and_scaled_grid_around_the_centre(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a plane, which blurring away from the edges and bilinear interpolation leave as it is."""
    monkeypatch.setattr(faces, "PATCHES", 3)
    monkeypatch.setattr(faces, "PARTS", (1, 0, 0))
    down, across = np.meshgrid(np.arange(64.0), np.arange(64.0), indexing="ij")
    patches = faces.cut((down + 2 * across)[None].astype(np.uint8), seed=3)
    rng = np.random.Generator(np.random.PCG64(3))
    angles, scales = np.deg2rad(rng.uniform(-90, 90, 3)), rng.uniform(1.4, 1.8, 3)
    offset = np.arange(-12, 13)
    for patch, angle, scale in zip(patches, angles, scales, strict=True):
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        for i in (5, 12, 20):
            for j in (5, 12, 20):
                row, column = 31.5 + scale * rotation @ [offset[i], offset[j]]
                assert patch[i, j] * 255 == pytest.approx(row + 2 * column, abs=1e-3)


def test_the_first_patches_of_a_part_show_all_of_its_people(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no person is in two parts."""
    monkeypatch.setattr(faces, "PATCHES", 3)
    flat = np.repeat(np.arange(40, dtype=np.uint8), 10)[:, None, None] * np.ones((64, 64), np.uint8)
    people = np.round(faces.cut(flat, 0)[:, 12, 12] * 255).reshape(-1)
    assert people[:250].tolist() == np.repeat(np.arange(25), 10).tolist()
    assert set(people[:750]) == set(range(25))
    assert set(people[750:900]) == set(range(25, 30))
    assert set(people[900:]) == set(range(30, 40))


def test_standardising_is_by_the_training_part_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faces, "_CHUNK", 7)
    patches = np.random.default_rng(0).normal(3, 2, (60, 5, 5)).astype(np.float32)
    standardised = faces.standardise(patches, 40)
    train = patches[:40].astype(np.float64)
    expected = (patches - train.mean(0)) / np.sqrt(train.var(0).mean())
    assert standardised.dtype == np.float16
    np.testing.assert_allclose(standardised, expected, atol=5e-3)
    patches[40:] += 100
    np.testing.assert_array_equal(faces.standardise(patches, 40)[:40], standardised[:40])


@pytest.mark.parametrize("place", faces.OLIVETTI)
def test_either_file_of_portraits_will_do(folders: Folders, tiny: NDArray[np.uint8], offline: str, place: str) -> None:
    assert folders.data is not None
    path = folders.data / place
    write_mat(path) if path.suffix == ".mat" else write_npz(path)
    assert faces.find(folders) == ("faces-rebuilt", f"rebuilt when first used, from {path}")
    np.testing.assert_array_equal(faces.olivetti(folders, silent), tiny)
    images = faces.load(folders)
    assert (images.train.shape, images.test.shape) == ((500, 25, 25), (200, 25, 25))
    assert faces.find(folders) == ("faces-rebuilt", str(folders.cache / faces.REBUILT))
    assert all(check.ok for check in faces.verify(folders))


def test_the_kept_set_is_used_again(
    folders: Folders, tiny: NDArray[np.uint8], offline: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert folders.data is not None
    write_npz(folders.data / faces.OLIVETTI[1])
    first = faces.load(folders)
    monkeypatch.setattr(faces, "cut", None)  # calling it would fail
    np.testing.assert_array_equal(faces.load(folders).train, first.train)


def test_progress_ends_with_all_bytes_of_the_file(folders: Folders, tiny: NDArray[np.uint8], offline: str) -> None:
    assert folders.data is not None
    write_npz(folders.data / "olivetti_faces_u8.npz")
    told: list[tuple[str, int, int | None]] = []
    faces.fetch(folders, lambda *step: told.append(step))
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    assert told[-1] == (faces.REBUILT, 800 * 625 * 2, 800 * 625 * 2)


@pytest.mark.parametrize("content", [b"", b"words " * 100, b"PK\x03\x04 a broken archive" * 20])
@pytest.mark.parametrize("name", ["olivetti_faces_u8.npz", "olivettifaces.mat"])
def test_damaged_portraits_are_named(
    folders: Folders, tiny: NDArray[np.uint8], offline: str, name: str, content: bytes
) -> None:
    assert folders.data is not None
    path = folders.data / name
    path.write_bytes(content)
    with pytest.raises(DataMissingError) as caught:
        faces.load(folders)
    text = str(caught.value)
    assert f"tried {path}: wrong checksum" in text
    assert f"tried {offline}: " in text
    assert text.endswith(f"put olivettifaces.mat, from {offline}, into {folders.data / 'olivetti'}")
    assert not any(check.ok for check in faces.verify(folders))


def test_portraits_that_are_missing_are_downloaded(
    folders: Folders, tiny: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_mat(tmp_path / "served.mat")
    assert faces.find(folders) == ("faces-rebuilt", "missing")
    monkeypatch.setattr(faces, "MAT_SHA256", file_sha256(tmp_path / "served.mat"))
    with serving(Mirror((tmp_path / "served.mat").read_bytes())) as mirror:
        monkeypatch.setattr(faces, "MAT_URLS", (mirror.address,))
        assert faces.load(folders).name == "faces-rebuilt"
    assert (folders.cache / "olivetti" / "olivettifaces.mat").is_file()


@pytest.mark.parametrize("place", faces.ORIGINAL)
def test_the_original_is_preferred_and_taken_as_it_is(
    folders: Folders, tiny: NDArray[np.uint8], offline: str, place: str
) -> None:
    assert folders.data is not None
    write_npz(folders.data / faces.OLIVETTI[1])
    faces.load(folders)
    original = np.random.default_rng(1).normal(size=(800, 625)).astype(np.float32)
    (folders.data / place).parent.mkdir(exist_ok=True)
    savemat(folders.data / place, {"newfaces_single": original.T})
    images = faces.load(folders)
    assert images.name == "faces"
    assert faces.find(folders) == ("faces", str(folders.data / place))
    np.testing.assert_allclose(images.train.reshape(500, 625), original[:500], atol=2e-3)  # half floats
    np.testing.assert_allclose(images.test.reshape(200, 625), original[-200:], atol=2e-3)


def test_an_original_that_is_none_is_named(folders: Folders, tiny: NDArray[np.uint8]) -> None:
    assert folders.data is not None
    savemat(folders.data / "newfaces_rot_single.mat", {"other": np.zeros(3)})
    with pytest.raises(SuiteError, match=r"newfaces_rot_single\.mat cannot be read"):
        faces.load(folders)
