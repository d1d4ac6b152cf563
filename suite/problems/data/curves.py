"""CURVES: images of curves through three random points, 28×28 (Hinton & Salakhutdinov 2006).

The original `digs3pts_1.mat` where the user has it, kept as float16. Else generated to its statistics and named
`curves-synthetic`: P ~ U(4.8, 22.2)^{3×2} in pixels (centres 0…27), the three y sorted, x as drawn; the quadratic
Bézier curve with those control points at 64 values of t; pixel = exp(−d²/(2·0.75²)), d the distance to the nearest
of the 64; kept as round(255·pixel), uint8.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from suite.problems.data.cache import array_sha256, built, converted, map_array
from suite.problems.data.images import Check, DataInfo, Found, Images
from suite.problems.data.mirrors import silent

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from suite.problems.data.folders import Folders
    from suite.problems.data.mirrors import Report

INFO = DataInfo(
    "images of curves through three points, 28×28",
    20_000,
    10_000,
    "digs3pts_1.mat (https://www.cs.toronto.edu/~jmartens/) where the user has it, else generated",
    classes=None,
    unit_interval=True,
    shape=(28, 28),
)
ORIGINAL = ("curves/digs3pts_1.mat", "digs3pts_1.mat")
GENERATED = "curves-synthetic.npy"
SEED = 1
SHA256 = "a56a6271f67d5b831374ed464a42b5a428d69dee50b41cab79d0c9b79255d80a"
"""Of the generated array, (30000, 28, 28) uint8."""

_CHUNK = 500  # images at a time


def load(folders: Folders) -> Images:
    """The original, else the kept or newly generated set.

    Raises:
        SuiteError: the original cannot be read, or the generated set is not what it should be.

    """
    (path,) = fetch(folders, silent)
    images, name = map_array(path), find(folders).name
    scale = 1.0 if name == "curves" else 1 / 255
    return Images(name, images[: INFO.train], images[INFO.train :], scale)


def find(folders: Folders) -> Found:
    """The original, or the generated set."""
    if original := folders.find(*ORIGINAL):
        return Found("curves", str(original))
    return Found("curves-synthetic", str(folders.find(GENERATED) or "generated when first used"))


def fetch(folders: Folders, report: Report) -> list[Path]:
    """The array to use, made where it is not at hand: from the original, else by `generate`."""
    if original := folders.find(*ORIGINAL):
        return [converted(folders, original, read_original)]
    return [built(folders, GENERATED, SHA256, partial(generate, INFO.train + INFO.test, SEED, report))]


def verify(folders: Folders) -> list[Check]:
    """The generated sets at hand."""
    return [Check(path, SHA256, array_sha256(path)) for path in folders.places(GENERATED)]


def read_original(path: Path) -> NDArray[np.float16]:
    """(30000, 28, 28): `bdata`, then `bdatatest` of the original file, one example a row."""
    import numpy as np
    from scipy.io import loadmat

    content = loadmat(path, variable_names=["bdata", "bdatatest"])
    images = np.concatenate([content["bdata"], content["bdatatest"]], dtype=np.float16, casting="same_kind")
    if not ((images >= 0) & (images <= 1)).all():
        raise ValueError("pixels are not between 0 and 1")
    return images.reshape(INFO.train + INFO.test, 28, 28)


def generate(count: int, seed: int, report: Report = silent) -> NDArray[np.uint8]:
    """(count, 28, 28) images, a pure function of count and seed."""
    import numpy as np

    rng = np.random.Generator(np.random.PCG64(seed))
    points = rng.uniform(4.8, 22.2, size=(count, 3, 2))  # (x, y) of three points
    points[:, :, 1].sort(axis=1)
    t = np.linspace(0, 1, 64)[:, None]
    weights = np.concatenate([(1 - t) ** 2, 2 * t * (1 - t), t**2], axis=1)  # Bernstein polynomials
    grid = np.arange(28.0)
    images = np.empty((count, 28, 28), dtype=np.uint8)
    for start in range(0, count, _CHUNK):
        curve = np.einsum("tk,nkc->nct", weights, points[start : start + _CHUNK])
        across = (grid - curve[:, 0, :, None]) ** 2  # (n, t, x)
        down = (grid - curve[:, 1, :, None]) ** 2  # (n, t, y)
        nearest = np.full((len(curve), 28, 28), np.inf)  # squared distances
        for step in range(len(t)):
            np.minimum(nearest, down[:, step, :, None] + across[:, step, None, :], out=nearest)
        images[start : start + _CHUNK] = np.round(255 * np.exp(-nearest / (2 * 0.75**2)))
        report(GENERATED, images[: start + _CHUNK].nbytes, images.nbytes)
    return images
