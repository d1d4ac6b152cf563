"""The dense oracle: everything again from its definition, by other means (numpy and scipy, no Gram matrices)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

if TYPE_CHECKING:
    from kfsvd import LayerSamples

Array = NDArray[np.float64]


def fisher(samples: LayerSamples) -> Array:
    """Σ w_n vec(G_n) vec(G_n)ᵀ, G_n = Σ_t g_nt a_ntᵀ, vec stacking columns."""
    a, g = samples.activations.double().numpy(), samples.gradients.double().numpy()
    w = samples.normalised_weights.numpy()
    rows = np.stack([(np.atleast_2d(g[n]).T @ np.atleast_2d(a[n])).flatten(order="F") for n in range(len(a))])
    return np.asarray(np.einsum("n,ni,nj->ij", w, rows, rows))


def rearranged(matrix: Array, d_in: int, d_out: int) -> Array:
    """Z with Z[(i, j), (k, l)] = F[(i, k), (j, l)]: row vec(A), column vec(B) of every block."""
    return matrix.reshape(d_in, d_out, d_in, d_out).transpose(0, 2, 1, 3).reshape(d_in**2, d_out**2)


def best_terms(matrix: Array, d_in: int, d_out: int, rank: int) -> Array:
    """The best sum of `rank` Kronecker products, dense, by scipy's SVD of the rearranged matrix."""
    u, s, vt = scipy.linalg.svd(rearranged(matrix, d_in, d_out), full_matrices=False)
    z = (u[:, :rank] * s[:rank]) @ vt[:rank]
    return np.asarray(z.reshape(d_in, d_in, d_out, d_out).transpose(0, 2, 1, 3).reshape(d_in * d_out, d_in * d_out))


def relative(actual: Array, expected: Array) -> float:
    """Relative Frobenius distance."""
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))
