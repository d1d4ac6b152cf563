"""The Van Loan–Pitsianis rearrangement of a Fisher block, and its singular value decomposition.

Z(F) permutes the entries of F so that Z(A⊗B) = vec(A) vec(B)ᵀ; hence ‖F − A⊗B‖ = ‖Z(F) − vec(A)vec(B)ᵀ‖, and the
singular value decomposition of Z(F) is the Kronecker product SVD of F (Van Loan & Pitsianis 1993). Z is never formed.
Two solvers hold it in different coordinates:

`gram`         in coefficients of the samples, through their Gram matrices: exact, O(m³) whatever the layer's width, and
               O(m²) an iteration for F's leading triple alone.
`matrix_free`  in matrices of the layer's own width, through Z vec(V) = Σ w_n G_nᵀ V G_n: O(m d²) an iteration,
               iterated to a relative residual (`TOLERANCE` there), whatever the number of samples.
`auto`         whichever of the two needs fewer operations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from kfsvd.options.choices import Solver
from kfsvd.rearrangement.base import Pair, Rearrangement
from kfsvd.rearrangement.gram import GramRearrangement, pair_count
from kfsvd.rearrangement.matrix_free import MatrixFreeRearrangement

if TYPE_CHECKING:
    from kfsvd.network.samples import LayerSamples


__all__ = ["GramRearrangement", "MatrixFreeRearrangement", "Pair", "Rearrangement", "Solver", "rearranged"]


def rearranged(samples: LayerSamples, solver: Solver = "auto", *, first_only: bool = False) -> Rearrangement:
    """Z of the samples' Fisher block, held by `solver`; `first_only` if nothing but its leading triple will be asked.

    Raises:
        ValueError: no solver has that name.

    """
    if solver not in get_args(Solver):
        raise ValueError(f"solver must be one of {', '.join(get_args(Solver))}; got {solver!r}")
    if solver == "auto":
        solver = cheaper_solver(samples, first_only=first_only)
    return GramRearrangement(samples, first_only=first_only) if solver == "gram" else MatrixFreeRearrangement(samples)


def cheaper_solver(samples: LayerSamples, *, first_only: bool = False) -> Literal["gram", "matrix_free"]:
    """The solver that takes less time, by a count of operations with measured constants.

    With p sample pairs (m for one position), R = mT rows and D = d_in² + d_out²:

                     Gram form                        matrix-free
        first_only   4p²(d_in + d_out) + 2000 p²      10 iterations of 4RD
        else         4p²(d_in + d_out) + 20 p³        300 iterations of 4RD

    The Gram matrices count twice, as they are products in float64 and the rest is mostly float32. The leading triple
    takes some ten iterations on either side, where 2000 p² stands for reading the Gram matrices; every later triple
    some hundreds, as its singular value is close to the next, or the eigenproblem. On one CPU core, with m from 32 to
    1,500 and widths from 16 to 1,000 (tests/benchmarks/test_bars.py), a rule without that distinction took a second
    triple by the solver that needs 2 to 3 of the other's time at m = 1,500 and width 256, and one that left the Gram
    form only beyond 10⁹ operations took 2.5 to 6 of the other's time for 32 samples with 4 positions.
    """
    d_out, d_in = samples.shape
    p, rows = pair_count(samples), len(samples) * samples.positions
    gram = 4 * p**2 * (d_in + d_out) + (2000 * p**2 if first_only else 20 * p**3)
    matrix_free = (10 if first_only else 300) * 4 * rows * (d_in**2 + d_out**2)
    return "gram" if gram <= max(matrix_free, _SMALL) else "matrix_free"


_SMALL = 2 * 10**8
"""Operations below which the Gram form is taken unasked: it is exact, and its few calls are what costs there."""
