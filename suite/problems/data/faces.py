"""FACES: 25×25 patches of the Olivetti faces, rotated and scaled (Hinton & Salakhutdinov 2006).

The original `newfaces_rot_single.mat` where the user has it; else rebuilt from the 400 Olivetti images and named
`faces-rebuilt`. Per image 414 patches: Gaussian blur σ = 0.45, bilinear samples on the grid c + s·R(θ)·{−12..12}²,
c = (31.5, 31.5), θ ~ U(−90°, 90°), s ~ U(1.4, 1.8); then every pixel shifted to zero mean, and the whole set scaled to
a mean pixel variance of 1, both by the training part. Kept as float16, memory-mapped.
People: 25 train, 5 validate (unused here), the last 10 test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from suite.problems.data.fetch import Check, building, download, map_array, missing, save_array, sha256, silent
from suite.problems.data.images import Images

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from suite.problems.data.fetch import Report
    from suite.problems.data.folders import Folders

DESCRIPTION = "25×25 patches of the Olivetti faces; rebuilt from them unless newfaces_rot_single.mat is at hand"
SIZE = "103,500 train / 41,400 test"
ORIGINAL = ("newfaces_rot_single.mat", "faces/newfaces_rot_single.mat")
REBUILT = "faces-rebuilt.npy"
OLIVETTI = ("olivetti/olivetti_faces_u8.npz", "olivetti_faces_u8.npz")
OLIVETTI_MAT = ("olivetti/olivettifaces.mat", "olivettifaces.mat")
MAT_URL = "https://ndownloader.figshare.com/files/5976027"
MAT_SHA256 = "b612fb967f2dc77c9c62d3e1266e0c73d5fca46a4b8906c18e454d41af987794"
IMAGES_SHA256 = "a3f75007cc103363b61a63e06bec8ea4846407682ef6e7c9ae1eb9c1bd0e8a00"  # (400, 64, 64) uint8, upright
PATCHES = 414  # of an image
TRAIN, TEST = 250 * PATCHES, 100 * PATCHES  # ten images a person
SEED = 1


def load(folders: Folders) -> Images:
    """The original, else the cached or newly rebuilt set.

    Raises:
        DataMissingError: the Olivetti images are not to be had.

    """
    original = folders.find(*ORIGINAL)
    if original is not None:
        from scipy.io import loadmat

        pixels = _standardised(loadmat(original)["newfaces_single"].T.reshape(-1, 25, 25).astype(np.float32))
        name = "faces"
    else:
        pixels = map_array(_rebuilt(folders, silent))
        name = "faces-rebuilt"
    return Images(name, pixels[:TRAIN], pixels[-TEST:], 1.0)


def whereabouts(folders: Folders) -> str:
    """Where it is found."""
    if found := folders.find(*ORIGINAL) or folders.find(REBUILT):
        return str(found)
    source = folders.find(*OLIVETTI, *OLIVETTI_MAT)
    return f"rebuilt when first used, from {source}" if source else "`kfsvd-bench datasets fetch faces` gets it"


def fetch(folders: Folders, report: Report) -> list[Path]:
    """Rebuild the set into the cache, unless the original is at hand.

    Raises:
        DataMissingError: the Olivetti images are not to be had.

    """
    return [folders.find(*ORIGINAL) or _rebuilt(folders, report)]


def verify(folders: Folders) -> list[Check]:
    """The Olivetti images at hand."""
    path = folders.find(*OLIVETTI, *OLIVETTI_MAT)
    return [] if path is None else [Check(path, IMAGES_SHA256, sha256(_read(path).tobytes()))]


def rebuild(faces: NDArray[np.uint8], seed: int, report: Report = silent) -> NDArray[np.float32]:
    """(len(faces)·414, 25, 25) patches in grey levels of [0, 1], a pure function of its arguments."""
    from scipy.ndimage import gaussian_filter, map_coordinates

    rng = np.random.Generator(np.random.PCG64(seed))
    offsets = np.arange(-12.0, 13.0)
    down, across = (axis.ravel() for axis in np.meshgrid(offsets, offsets, indexing="ij"))
    patches = np.empty((len(faces), PATCHES, 25, 25), dtype=np.float32)
    for index, face in enumerate(faces):
        blurred = gaussian_filter(face.astype(np.float32) / 255, 0.45)
        angle = np.deg2rad(rng.uniform(-90, 90, size=(PATCHES, 1)))
        scale = rng.uniform(1.4, 1.8, size=(PATCHES, 1))
        rows = 31.5 + scale * (np.cos(angle) * down - np.sin(angle) * across)
        columns = 31.5 + scale * (np.sin(angle) * down + np.cos(angle) * across)
        samples = map_coordinates(blurred, [rows.ravel(), columns.ravel()], order=1, mode="nearest")
        patches[index] = samples.reshape(PATCHES, 25, 25)
        report("faces: patches", index + 1, len(faces))
    return patches.reshape(-1, 25, 25)


def _standardised(patches: NDArray[np.float32]) -> NDArray[np.float16]:
    """Every pixel to zero mean, the whole to a mean pixel variance of 1, by the training part."""
    train = patches[:TRAIN]
    mean = train.mean(0, dtype=np.float64)
    variance = float(np.mean([(train[:, row].astype(np.float64)).var(0).mean() for row in range(25)]))
    standardised = np.empty(patches.shape, dtype=np.float16)
    for start in range(0, len(patches), 4096):
        standardised[start : start + 4096] = (patches[start : start + 4096] - mean) / variance**0.5
    return standardised


def _rebuilt(folders: Folders, report: Report) -> Path:
    target = folders.cache / REBUILT
    if folders.given is not None and (folders.given / REBUILT).is_file():
        return folders.given / REBUILT
    with building(target) as needed:
        if needed:
            save_array(target, _standardised(rebuild(_olivetti(folders, report), SEED, report)))
    return target


def _olivetti(folders: Folders, report: Report) -> NDArray[np.uint8]:
    path = folders.find(*OLIVETTI, *OLIVETTI_MAT)
    place = folders.given or folders.cache
    remedy = f"Put olivettifaces.mat ({MAT_URL}) into {place / 'olivetti'}."
    if path is None:
        path = folders.cache / "olivetti" / "olivettifaces.mat"
        if tried := download([MAT_URL], MAT_SHA256, path, report):
            raise missing("faces", tried, remedy)
    images = _read(path)
    if sha256(images.tobytes()) != IMAGES_SHA256:
        raise missing("faces", [], f"{path} does not hold the Olivetti faces: their checksum differs. {remedy}")
    return images


def _read(path: Path) -> NDArray[np.uint8]:
    """(400, 64, 64), upright."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            images: NDArray[np.uint8] = archive["images"]
            return images
    from scipy.io import loadmat

    columns: NDArray[Any] = loadmat(path)["faces"]
    return np.ascontiguousarray(columns.T.reshape(400, 64, 64).transpose(0, 2, 1)).astype(np.uint8)
