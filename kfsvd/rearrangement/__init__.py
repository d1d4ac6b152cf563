"""The Van Loan–Pitsianis rearrangement of a Fisher block, and its singular value decomposition.

Z(F) permutes the entries of F so that Z(A⊗B) = vec(A) vec(B)ᵀ; hence ‖F − A⊗B‖ = ‖Z(F) − vec(A)vec(B)ᵀ‖, and the
singular value decomposition of Z(F) is the Kronecker product SVD of F (Van Loan & Pitsianis 1993). Z is never formed.
Two solvers hold it in different coordinates:

`gram`         in coefficients of the samples, through their Gram matrices: exact, O(m³) whatever the layer's width.
`matrix_free`  in matrices of the layer's own width, through Z vec(V) = Σ w_n G_nᵀ V G_n: O(m d²) an iteration,
               iterated to a relative residual (`TOLERANCE` there), whatever the number of samples.
`auto`         whichever of the two needs fewer operations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from kfsvd.rearrangement.base import Pair, Rearrangement
from kfsvd.rearrangement.gram import GramRearrangement, pair_count
from kfsvd.rearrangement.matrix_free import MatrixFreeRearrangement

if TYPE_CHECKING:
    from kfsvd.samples import LayerSamples

Solver = Literal["auto", "gram", "matrix_free"]

__all__ = ["GramRearrangement", "MatrixFreeRearrangement", "Pair", "Rearrangement", "Solver", "rearranged"]


def rearranged(samples: LayerSamples, solver: Solver = "auto") -> Rearrangement:
    """Z of the samples' Fisher block, held by `solver`.

    Raises:
        ValueError: no solver has that name.

    """
    if solver not in get_args(Solver):
        raise ValueError(f"solver must be one of {', '.join(get_args(Solver))}; got {solver!r}")
    if solver == "auto":
        solver = cheaper_solver(samples)
    return GramRearrangement(samples) if solver == "gram" else MatrixFreeRearrangement(samples)


def cheaper_solver(samples: LayerSamples) -> Literal["gram", "matrix_free"]:
    """The solver that needs fewer operations.

    Gram form: 2p²(d_in + d_out) for the Gram matrices of p sample pairs and about 20 p³ for the symmetric
    eigenproblem. Matrix-free: about 40 iterations of 4 mT(d_in² + d_out²).
    """
    d_out, d_in = samples.shape
    p, rows = pair_count(samples), len(samples) * samples.positions
    gram = 2 * p**2 * (d_in + d_out) + 20 * p**3
    matrix_free = 160 * rows * (d_in**2 + d_out**2)
    return "gram" if gram <= max(matrix_free, _SMALL) else "matrix_free"


_SMALL = 10**9
"""Operations below which the Gram form is taken unasked: it is exact, and its few calls are what costs there."""
