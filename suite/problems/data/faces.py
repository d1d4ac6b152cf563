"""FACES: 25×25 patches of the Olivetti faces, rotated and scaled (Hinton & Salakhutdinov 2006).

The original `newfaces_rot_single.mat` where the user has it; else rebuilt from the 400 Olivetti images and named
`faces-rebuilt`. Per image 414 patches: Gaussian blur σ = 0.45, bilinear samples on the grid c + s·R(θ)·{−12..12}²,
c = (31.5, 31.5), θ ~ U(−90°, 90°), s ~ U(1.4, 1.8). Then every pixel is shifted to zero mean and the whole set scaled
to a mean pixel variance of 1, both by the training part. A PCA with 30 components then has a squared error of 134 on
the test part, where 135 is printed for the original. Kept as float16, memory-mapped.

Of the 40 people, in Olivetti's order, 25 train, 5 are for validation (unused) and the last 10 test. Each part runs
over all its images before it comes to their next patch, so that its first examples show all of its people.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from suite.problems.data.cache import array_sha256, built, converted, locked, map_array, sha256
from suite.problems.data.images import Check, DataInfo, Found, Images
from suite.problems.data.mirrors import download, missing, silent

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from suite.problems.data.folders import Folders
    from suite.problems.data.mirrors import Report

INFO = DataInfo(
    "25×25 patches of the Olivetti faces, rotated and scaled",
    103_500,
    41_400,
    "newfaces_rot_single.mat (https://www.cs.toronto.edu/~jmartens/) where the user has it, else rebuilt from "
    "olivettifaces.mat (https://ndownloader.figshare.com/files/5976027)",
    classes=None,
    unit_interval=False,
    shape=(25, 25),
)
ORIGINAL = ("faces/newfaces_rot_single.mat", "newfaces_rot_single.mat")
REBUILT = "faces-rebuilt.npy"
SEED = 1
SHA256 = "503eff031e11a2f2a073f50b6c9e77be9f5612908217160b9a5ae753cf875d89"
"""Of the rebuilt array, (165600, 25, 25) float16."""

OLIVETTI = (
    "olivetti/olivettifaces.mat",
    "olivetti/olivetti_faces_u8.npz",
    "olivettifaces.mat",
    "olivetti_faces_u8.npz",
)
MAT_URLS = ("https://ndownloader.figshare.com/files/5976027",)
MAT_SHA256 = "b612fb967f2dc77c9c62d3e1266e0c73d5fca46a4b8906c18e454d41af987794"
OLIVETTI_SHA256 = "a3f75007cc103363b61a63e06bec8ea4846407682ef6e7c9ae1eb9c1bd0e8a00"  # (400, 64, 64) uint8, upright

PATCHES = 414  # of an image
PARTS = (250, 50, 100)  # images to train, validate and test: ten a person
_CHUNK = 4096  # patches at a time


def load(folders: Folders) -> Images:
    """The original, else the kept or newly rebuilt set.

    Raises:
        DataMissingError: the Olivetti images are not to be had.
        SuiteError: the original cannot be read, or the rebuilt set is not what it should be.

    """
    (path,) = fetch(folders, silent)
    patches = map_array(path)
    return Images(find(folders).name, patches[: INFO.train], patches[-INFO.test :], 1.0)


def find(folders: Folders) -> Found:
    """The original, the rebuilt set, or what it will be rebuilt from."""
    if original := folders.find(*ORIGINAL):
        return Found("faces", str(original))
    if rebuilt := folders.find(REBUILT):
        return Found("faces-rebuilt", str(rebuilt))
    source = folders.find(*OLIVETTI)
    return Found("faces-rebuilt", f"rebuilt when first used, from {source}" if source else "missing")


def fetch(folders: Folders, report: Report) -> list[Path]:
    """The array to use, made where it is not at hand: from the original, else from the Olivetti images.

    Raises:
        DataMissingError: the Olivetti images are not to be had.

    """
    if original := folders.find(*ORIGINAL):
        return [converted(folders, original, read_original)]

    def make() -> NDArray[np.float16]:
        return standardise(cut(olivetti(folders, report), SEED, report), PARTS[0] * PATCHES)

    return [built(folders, REBUILT, SHA256, make)]


def verify(folders: Folders) -> list[Check]:
    """The Olivetti images and the rebuilt sets at hand."""
    checks = [Check(path, SHA256, array_sha256(path)) for path in folders.places(REBUILT)]
    return checks + [Check(path, OLIVETTI_SHA256, sha256(read_olivetti(path))) for path in folders.places(*OLIVETTI)]


def cut(images: NDArray[np.uint8], seed: int, report: Report = silent) -> NDArray[np.float32]:
    """Rotated and scaled patches in grey levels of [0, 1], a pure function of images and seed.

    Args:
        images: (400, 64, 64).
        seed: of the angles and scales.
        report: told of the progress.

    Returns:
        (165600, 25, 25): training, validation and test part, in each patch number by patch number.

    """
    import numpy as np
    from scipy.ndimage import map_coordinates

    rng = np.random.Generator(np.random.PCG64(seed))
    offsets = np.arange(-12.0, 13.0)
    down, across = (axis.ravel() for axis in np.meshgrid(offsets, offsets, indexing="ij"))
    patches = np.empty((len(images) * PATCHES, 25, 25), dtype=np.float32)
    done, first = 0, 0
    for count in PARTS:
        part = patches[first * PATCHES : (first + count) * PATCHES].reshape(PATCHES, count, 25, 25)
        for place, image in enumerate(blur(images[first : first + count] / 255.0, 0.45)):
            angle = np.deg2rad(rng.uniform(-90, 90, size=(PATCHES, 1)))
            scale = rng.uniform(1.4, 1.8, size=(PATCHES, 1))
            rows = 31.5 + scale * (np.cos(angle) * down - np.sin(angle) * across)
            columns = 31.5 + scale * (np.sin(angle) * down + np.cos(angle) * across)
            samples = map_coordinates(image, [rows, columns], order=1, mode="nearest")
            part[:, place] = samples.reshape(PATCHES, 25, 25)
            done += part[:, place].nbytes // 2  # as float16
            report(REBUILT, done, patches.nbytes // 2)
        first += count
    return patches


def blur(images: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """Images (n, height, width) convolved with a Gaussian of standard deviation `sigma` pixels, mirrored at the edges.

    In the frequency domain, where that is exact: below one pixel, a Gaussian sampled at whole pixels is too narrow
    (at σ = 0.45 its variance is 0.145 instead of 0.2025, which leaves a PCA error of 140 instead of 134).
    """
    import numpy as np
    from scipy.fft import dctn, idctn

    height, width = (np.exp(-((sigma * np.pi * np.arange(n) / n) ** 2) / 2) for n in images.shape[1:])
    blurred: NDArray[np.float64] = idctn(dctn(images, axes=(1, 2)) * height[:, None] * width, axes=(1, 2))
    return blurred


def standardise(patches: NDArray[np.float32], train: int) -> NDArray[np.float16]:
    """Every pixel to zero mean, and the whole to a mean pixel variance of 1, by the first `train` patches."""
    import numpy as np

    mean = patches[:train].mean(0, dtype=np.float64)
    squares = np.zeros(mean.shape)
    for start in range(0, train, _CHUNK):
        squares += ((patches[start : min(start + _CHUNK, train)] - mean) ** 2).sum(0)
    deviation = np.sqrt((squares / train).mean())
    standardised = np.empty(patches.shape, dtype=np.float16)
    for start in range(0, len(patches), _CHUNK):
        standardised[start : start + _CHUNK] = (patches[start : start + _CHUNK] - mean) / deviation
    return standardised


def read_original(path: Path) -> NDArray[np.float16]:
    """(165600, 25, 25): `newfaces_single` of the original file, standardised already, one example a column."""
    import numpy as np
    from scipy.io import loadmat

    columns: NDArray[np.floating[Any]] = loadmat(path, variable_names=["newfaces_single"])["newfaces_single"]
    return columns.T.astype(np.float16, order="C", casting="same_kind").reshape(sum(PARTS) * PATCHES, 25, 25)


def olivetti(folders: Folders, report: Report) -> NDArray[np.uint8]:
    """The 400 Olivetti images, (400, 64, 64) uint8, upright, ten a person; downloaded where they are not at hand.

    Raises:
        DataMissingError: they are neither at hand nor to be had.

    """
    failures = folders.lacking(*OLIVETTI)
    for path in folders.places(*OLIVETTI):
        images = read_olivetti(path)
        if sha256(images) == OLIVETTI_SHA256:
            return images
        failures.append(f"{path}: wrong checksum")
    target = folders.cache / "olivetti" / "olivettifaces.mat"
    with locked(target):
        failed = download(MAT_URLS, MAT_SHA256, target, report)
    if failed:
        remedy = f"put olivettifaces.mat, from {MAT_URLS[0]}, into {folders.home / 'olivetti'}"
        raise missing("faces: olivettifaces.mat", failures + failed, remedy)
    return read_olivetti(target)


def read_olivetti(path: Path) -> NDArray[np.uint8]:
    """(400, 64, 64), upright, from .npz (`images`) or .mat (`faces`, an image a column); empty where damaged."""
    import numpy as np
    from scipy.io import loadmat

    try:
        if path.suffix == ".npz":
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                images: NDArray[np.uint8] = archive["images"]
                return images
        columns = loadmat(path, variable_names=["faces"])["faces"]
        return np.ascontiguousarray(columns.T.reshape(400, 64, 64).transpose(0, 2, 1)).astype(np.uint8)
    except Exception:  # the readers raise whatever their parts raise
        return np.empty((0, 64, 64), dtype=np.uint8)
