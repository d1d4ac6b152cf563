"""CURVES: images of curves through three random points, 28×28 (Hinton & Salakhutdinov 2006).

The original `digs3pts_1.mat` where the user has it; else generated to its statistics and named `curves-synthetic`:
P ~ U(4.8, 22.2)^{3×2} in pixels, the three y sorted, x as drawn; the quadratic Bézier curve with those control
points at 64 values of t; pixel = exp(−d²/(2·0.75²)), d the distance to the nearest of the 64; stored as pixel/255 bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from suite.problems.data.fetch import Check, building, map_array, save_array, sha256
from suite.problems.data.images import Images

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from suite.problems.data.fetch import Report
    from suite.problems.data.folders import Folders

DESCRIPTION = "images of curves, 28×28; generated unless digs3pts_1.mat is at hand"
SIZE = "20,000 train / 10,000 test"
ORIGINAL = ("digs3pts_1.mat", "curves/digs3pts_1.mat")
GENERATED = "curves-synthetic.npy"
TRAIN, ALL = 20_000, 30_000
SEED = 1
SHA256 = "a56a6271f67d5b831374ed464a42b5a428d69dee50b41cab79d0c9b79255d80a"  # of the generated array's bytes


def load(folders: Folders) -> Images:
    """The original, else the cached or newly generated set."""
    original = folders.find(*ORIGINAL)
    if original is not None:
        from scipy.io import loadmat

        content = loadmat(original)
        train, test = (
            np.round(content[key] * 255).astype(np.uint8).reshape(-1, 28, 28) for key in ("bdata", "bdatatest")
        )
        return Images("curves", train, test, 1 / 255)
    images = map_array(_generated(folders))
    return Images("curves-synthetic", images[:TRAIN], images[TRAIN:], 1 / 255)


def whereabouts(folders: Folders) -> str:
    """Where it is found."""
    found = folders.find(*ORIGINAL) or folders.find(GENERATED)
    return str(found) if found else "generated when first used"


def fetch(folders: Folders, report: Report) -> list[Path]:
    """Generate the set into the cache, unless the original is at hand."""
    return [folders.find(*ORIGINAL) or _generated(folders)]


def verify(folders: Folders) -> list[Check]:
    """The cached set, if there is one."""
    path = folders.cache / GENERATED
    return [Check(path, SHA256, sha256(map_array(path).tobytes()))] if path.exists() else []


def generate(count: int, seed: int) -> NDArray[np.uint8]:
    """(count, 28, 28) images, a pure function of its arguments."""
    rng = np.random.Generator(np.random.PCG64(seed))
    points = rng.uniform(4.8, 22.2, size=(count, 3, 2))  # (x, y) of three points
    points[:, :, 1].sort(axis=1)
    t = np.linspace(0, 1, 64)[:, None]
    weights = np.concatenate([(1 - t) ** 2, 2 * t * (1 - t), t**2], axis=1)  # Bernstein polynomials
    grid = np.arange(28.0)
    images = np.empty((count, 28, 28), dtype=np.uint8)
    for start in range(0, count, 500):
        curve = np.einsum("tk,nkc->nct", weights, points[start : start + 500])
        across = (grid[None, None, :] - curve[:, 0, :, None]) ** 2  # (n, t, x)
        down = (grid[None, None, :] - curve[:, 1, :, None]) ** 2  # (n, t, y)
        nearest = np.full((len(curve), 28, 28), np.inf)
        for step in range(64):
            np.minimum(nearest, down[:, step, :, None] + across[:, step, None, :], out=nearest)
        images[start : start + 500] = np.round(255 * np.exp(-nearest / (2 * 0.75**2)))
    return images


def _generated(folders: Folders) -> Path:
    target: Any = folders.cache / GENERATED
    with building(target) as needed:
        if needed:
            save_array(target, generate(ALL, SEED))
    path: Path = target
    return path
