"""The sides of a low-rank inverse: a factor's leading eigenpairs, the rest as isotropic, and the bound of the error."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch

from kfsvd.inverse.damping import FLOOR
from kfsvd.linalg.eigh import symmetric_eigh
from kfsvd.linalg.subspace import Subspace
from kfsvd.linalg.thin import times_thin

if TYPE_CHECKING:
    from torch import Tensor

_ISOTROPIC = 0.93
"""The part of a side's tolerance for y; the rest is for inexact eigenvectors."""
_KEPT = 0.65
"""Keep eigenvalues above this part of the bound s: the margin lets the Cholesky test succeed at later refreshes too."""
_ROUNDINGS = 100
"""So many roundings of ‖P‖² are added to a difference of squared norms, whose products are rounded in P's dtype."""
PROBES, POWERS = 8, 4
"""Random columns, and the power of the matrix, by which a norm is bounded."""
_MOST_TRIES = 8
"""Steps of subspace iteration beyond which a full eigendecomposition is made."""
_MOST_CHANGES = 16
"""Give up tightening the second product's bound after this many attempts, and accept the current bound."""


class Side(NamedTuple):
    """A damped factor as it is replaced."""

    vectors: Tensor  # J (n, k)
    values: Tensor  # θ (k,)
    shift: float  # a
    rest: float  # r
    isotropic: float  # y
    slip: float  # η

    @property
    def shrinkage(self) -> Tensor:
        """1 − r/(θ + a)."""
        return 1 - self.rest / (self.values + self.shift)

    def error(self, least: float) -> float:
        """e, where the least of 1 + t sᵀ is `least`."""
        return _joined(self.isotropic, self.slip / math.sqrt(least))


class Second(NamedTuple):
    """The second product on one side, whitened."""

    vectors: Tensor  # diag(θ + a)^(-1/2) W (k, k)
    values: Tensor  # s (k,)
    largest: float  # |s|
    across: float  # a bound of |C|, what S takes from J to beyond it and back
    beyond: float  # a bound of |E|, what S does beyond J
    tight: bool  # whether that bound is as good as can be had

    @property
    def remainder(self) -> float:
        """A bound of S_r: of [[0, C], [Cᵀ, E]], it is the largest eigenvalue of [[0, |C|], [|C|, |E|]]."""
        return _joined(self.beyond, self.across)


def damped_side(factor: Tensor, shift: float, tolerance: float, start: Tensor | None) -> Side:
    """The eigenpairs of a factor that stand out, with a bound of the others.

    Args:
        factor: A (n, n), positive semidefinite.
        shift: a.
        tolerance: of e.
        start: J (n, k) of a nearby factor.

    """
    part = _ISOTROPIC * tolerance
    trace = float(factor.diagonal().sum())
    subspace = Subspace(factor, factor.new_zeros(len(factor), 0) if start is None else start)
    for _ in range(_MOST_TRIES):
        if subspace.exact:
            break
        limit, kept, rest = _parting(subspace.values, trace, len(factor), shift, part)
        if subspace.searched and kept > len(subspace.values) - 2:
            subspace.widen()
            continue
        found = subspace.values[:kept], subspace.vectors[:, :kept], subspace.images[:, :kept]
        slip = _slip(*found, shift, rest)
        if _joined(part, slip) <= tolerance and _bounded(factor, found[0], found[1], limit):
            return Side(found[1].contiguous(), found[0], shift, rest, part, slip)
        subspace.iterate()
    else:
        subspace.decompose()
    limit, kept, rest = _parting(subspace.values, trace, len(factor), shift, part)
    largest = float(subspace.values[kept]) if kept < len(factor) else 0.0
    vectors, values = subspace.vectors[:, :kept].contiguous(), subspace.values[:kept]
    return Side(vectors, values, shift, rest, max((shift + largest) / rest - 1, 1 - shift / rest), 0.0)


def _parting(values: Tensor, trace: float, width: int, shift: float, part: float) -> tuple[float, int, float]:
    """The bound s of what is neglected, how many eigenvalues are kept, and r, the mean of the others and a.

    With all others in [0, s], y = max((a + s)/r − 1, 1 − a/r) is `part`.
    """
    below = (trace - values.double().cumsum(0)).clamp(min=0).tolist()
    kept, rest = 0, shift
    for kept, value in enumerate([*values.tolist(), 0.0]):
        left = below[kept - 1] if kept else trace
        rest = shift + max(left, 0.0) / max(width - kept, 1)
        limit = (1 + part) * rest - shift
        if value <= _KEPT * limit and 1 - shift / rest <= part:
            break
    return limit, kept, rest


def _joined(isotropic: float, slip: float) -> float:
    """e, the largest that an eigenvalue of [[0, ηᵀ], [η, y]] can be."""
    return (isotropic + math.sqrt(isotropic**2 + 4 * slip**2)) / 2


def _slip(values: Tensor, vectors: Tensor, images: Tensor, shift: float, rest: float) -> float:
    """A bound of η."""
    return _spectral_bound((images - vectors * values) / (values + shift).sqrt()) / math.sqrt(rest)


def _bounded(factor: Tensor, values: Tensor, vectors: Tensor, limit: float) -> bool:
    """Whether s is a bound of what the vectors leave: s I + J diag(3θ) Jᵀ − A has a Cholesky factor.

    That matrix is s I − A on the complement of J.
    """
    left_over = torch.addmm(factor, vectors * (3 * values), vectors.mT, beta=-1)
    left_over.diagonal().add_(limit)
    return int(torch.linalg.cholesky_ex(left_over).info) == 0


def second_sides(
    terms: tuple[tuple[Tensor, Tensor], ...], inner: Side, outer: Side, tolerance: float
) -> tuple[Side, Side, Second, Second]:
    """The second product within both sides' directions, until what it loses is shown to be within the tolerance.

    First the bound of what is beyond them is tightened, which costs less, then they are extended. A side that would
    come to half of its width is given all directions.

    Args:
        terms: (A, B) and (P, Q).
        inner: of A.
        outer: of B.
        tolerance: ε.

    """
    (a, b), (p, q) = terms
    left, right = _second(p, inner), _second(q, outer)
    for _ in range(_MOST_CHANGES):
        denominators = (1 + torch.outer(right.values, left.values)).clamp(min=FLOOR)
        if sum_error(inner, outer, left, right, denominators) <= tolerance:
            break
        left_to_blame = left.remainder * right.largest >= left.largest * right.remainder
        if not (left.tight and right.tight):
            if right.tight or (left_to_blame and not left.tight):
                left = _tightened(left, p, inner)
            else:
                right = _tightened(right, q, outer)
        elif left_to_blame:
            inner = _extended(a, p, inner)
            left = _second(p, inner)
        else:
            outer = _extended(b, q, outer)
            right = _second(q, outer)
    return inner, outer, left, right


def _second(factor: Tensor, side: Side) -> Second:
    """P whitened by Ã and kept within J, with a first bound of what is beyond.

    With N = I − JJᵀ, C = diag(θ + a)^(-1/2) JᵀPN/√r and E = NPN/r, whose Frobenius norm follows from those of P, of PJ
    and of JᵀPJ.
    """
    roots = (side.values + side.shift).sqrt()
    image = times_thin(factor, side.vectors)
    within = side.vectors.mT @ image
    values, turn = symmetric_eigh(within / roots / roots.unsqueeze(1))
    largest = float(values.abs().max()) if len(values) else 0.0
    across = beyond = 0.0
    full = side.vectors.shape[1] == len(factor)
    if not full:
        across = _spectral_bound((image - times_thin(side.vectors, within)) / roots) / math.sqrt(side.rest)
        whole, half, inside = (_square(matrix) for matrix in (factor, image, within))
        rounding = _ROUNDINGS * torch.finfo(factor.dtype).eps * whole
        beyond = math.sqrt(max(whole - 2 * half + inside, 0.0) + rounding) / side.rest
    return Second(turn / roots.unsqueeze(1), values, largest, across, beyond, tight=full)


def _square(matrix: Tensor) -> float:
    """‖M‖²: of a million numbers in float32, no longer sums are taken than those of a row."""
    return float(torch.linalg.vector_norm(matrix, dim=1).double().square().sum())


def _tightened(second: Second, factor: Tensor, side: Side) -> Second:
    """With the better of both bounds of |E|."""
    beyond = min(second.beyond, _norm_beyond(side.vectors, factor) / side.rest)
    return second._replace(beyond=beyond, tight=True)


def _spectral_bound(columns: Tensor) -> float:
    """The Schatten-4 norm, which is not below the spectral one."""
    return math.sqrt(float(torch.linalg.vector_norm(columns.mT @ columns)))


def _norm_beyond(vectors: Tensor, factor: Tensor) -> float:
    """A number that |NPN|, N = I − JJᵀ, exceeds with a probability of 2·10⁻⁹ at most.

    For a Gaussian z, ‖Rᵏz‖ ≥ ‖R‖ᵏ |g| with a Gaussian g, and |g| < 1/10 has a probability below 0.08. So ‖R‖ is at
    most (10 max ‖Rᵏz‖)^(1/k) but in 0.08⁸ of all draws of eight z (Dixon 1983). For k = 4 that is about twice ‖R‖, or
    four times where a thousand eigenvalues are alike.

    Args:
        vectors: J (n, k), orthonormal.
        factor: P (n, n), symmetric.

    """
    generator = torch.Generator().manual_seed(len(factor))
    drawn = torch.randn(len(factor), PROBES, generator=generator, dtype=factor.dtype).to(factor.device)
    columns = drawn - times_thin(vectors, vectors.mT @ drawn)
    log_scale = torch.zeros((), dtype=torch.float64, device=factor.device)
    for _ in range(POWERS):
        image = times_thin(factor, columns)
        columns = image - times_thin(vectors, vectors.mT @ image)
        size = torch.linalg.vector_norm(columns).clamp(min=torch.finfo(factor.dtype).tiny)
        columns, log_scale = columns / size, log_scale + size.double().log()
    largest = torch.linalg.vector_norm(columns, dim=0).max().double()
    return float(((log_scale + (10 * largest).log()) / POWERS).exp())


def _extended(first: Tensor, second: Tensor, side: Side) -> Side:
    """The side with half as many directions again, at least 8: those into which P reaches farthest beyond J."""
    n, k = side.vectors.shape
    more = max(8, k // 2)
    if 2 * (k + more) > n:
        values, vectors = symmetric_eigh(first)
        return Side(vectors, values.clamp(min=0), side.shift, side.rest, 0.0, 0.0)
    generator = torch.Generator().manual_seed(k)
    probes = torch.randn(n, more, generator=generator, dtype=first.dtype).to(first.device)
    reach = torch.cat([side.vectors / (side.values + side.shift).sqrt(), probes / math.sqrt(n * side.rest)], 1)
    for _ in range(2):
        reach = times_thin(second, reach)
        reach = reach - times_thin(side.vectors, side.vectors.mT @ reach)
    beyond = torch.linalg.svd(reach, full_matrices=False).U[:, :more]
    basis = torch.linalg.qr(torch.cat([side.vectors, beyond], 1)).Q
    image = times_thin(first, basis)
    values, turn = symmetric_eigh(basis.mT @ image)
    vectors, values = times_thin(basis, turn), values.clamp(min=0)
    slip = _slip(values, vectors, times_thin(image, turn), side.shift, side.rest)
    return Side(vectors.contiguous(), values, side.shift, side.rest, side.isotropic, slip)


def product_error(inner: Side, outer: Side, least: float) -> float:
    """(1 + e_A)(1 + e_B) − 1, where the least of 1 + t sᵀ is `least`."""
    return (1 + inner.error(least)) * (1 + outer.error(least)) - 1


def sum_error(inner: Side, outer: Side, left: Second, right: Second, denominators: Tensor) -> float:
    """The bound for two products, by their guarded denominators 1 + t sᵀ."""
    least = min(1.0, float(denominators.min())) if denominators.numel() else 1.0
    neglected = left.largest * right.remainder + left.remainder * right.largest + left.remainder * right.remainder
    return product_error(inner, outer, least) + neglected * (1 + math.sqrt(1 + 4 / least)) / 2
