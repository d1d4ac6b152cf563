"""The rearranged Fisher block in Gram form: every singular triple from m×m matrices.

With one position Z = P C Qᵀ, where the columns of P are vec(a_n a_nᵀ), those of Q are vec(g_n g_nᵀ), and the
*coupling* C = diag(w). Everything that is taken from F in these methods keeps that form and only changes C:

    F − Σ_k σ_k R_k⊗S_k,  R_k = Σ α_kn a_n a_nᵀ,  S_k = Σ β_kn g_n g_nᵀ     C = diag(w) − Σ_k σ_k α_k β_kᵀ
    F − A⊗G with KFAC's A = Σ w_n a_n a_nᵀ, G = Σ w_n g_n g_nᵀ             C = diag(w) − w wᵀ

So P and Q enter through K_A = PᵀP = (XXᵀ)∘² and K_G = QᵀQ = (YYᵀ)∘² alone, and no step costs more than O(m³),
whatever the layer's width. A singular vector u = Pα is the symmetric matrix Σ α_n a_n a_nᵀ.

With T positions the columns are the symmetric parts of a_nt a_nt'ᵀ and g_nt g_nt'ᵀ, one for each pair t ≤ t', and the
weight of a pair t < t' is 2 w_n. There are mT(T+1)/2 of them, so this is for few positions.
"""

from __future__ import annotations

import copy
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from kfsvd.linalg.few_eigenpairs import largest_eigenpairs
from kfsvd.linalg.finite import all_finite
from kfsvd.network.samples import moment
from kfsvd.rearrangement.base import Pair, Rearrangement
from kfsvd.rearrangement.krylov import golub_kahan_lanczos, turn_towards

if TYPE_CHECKING:
    from typing import Self

    from torch import Generator, Tensor

    from kfsvd.network.samples import LayerSamples

_MOST_PAIRS = 8192
"""Sample pairs up to which a Gram form is made: beyond, its matrices alone take gigabytes."""

_POWER_STEPS, _POWER_BLOCKS = 6, 10
"""Power iterations between two looks at the residual, and how many times."""
DIRECT = 256
"""Columns of P and Q up to which LAPACK decomposes their core faster than a Krylov space is built.

Two triples, the Gram form included, in the time that a Krylov space takes: 0.56 of it at 128, 0.83 at 256, 1.19 at 512.
"""
_TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-7}
"""The relative residual that ends an iteration, by the samples' dtype: float32 samples say no more."""


def pair_count(samples: LayerSamples) -> int:
    """mT(T+1)/2, the number of columns of P and Q."""
    return len(samples) * samples.positions * (samples.positions + 1) // 2


class GramRearrangement(Rearrangement):
    """Z = P C Qᵀ of a layer's samples through its Gram matrices, in float64.

    Both Gram matrices are scaled to a unit largest entry, so that samples of any magnitude stay in range. Where only
    the leading triple will be asked, the products of the samples are taken in the samples' own dtype: it is as accurate
    as they are, while later triples are differences that would be lost in float32.

    Raises:
        ValueError: there are too many pairs of samples for matrices of that size.

    """

    def __init__(self, samples: LayerSamples, *, first_only: bool = False) -> None:
        count = pair_count(samples)
        if count > _MOST_PAIRS:
            raise ValueError(
                f"the Gram form of {len(samples)} samples with {samples.positions} position(s) has {count:,} columns, "
                f"more than {_MOST_PAIRS:,}; use solver='matrix_free' or a smaller curvature batch"
            )
        self.samples = samples
        m, t = len(samples), samples.positions
        device = samples.activations.device
        self._first, self._second = torch.triu_indices(t, t, device=device)
        a, g = (samples if first_only else samples.double()).by_position
        self.gram_a, traces, self.scale_a = self._pair_gram(a)
        self.gram_g, _, self.scale_g = self._pair_gram(g)
        self.scale = (self.scale_a * self.scale_g).sqrt()
        self._sample_weights = samples.normalised_weights
        multiplicity = 1 + (self._first < self._second).to(torch.float64)
        self.weights = (self._sample_weights.unsqueeze(1) * multiplicity).flatten()
        self._traces = traces
        self._taken: list[tuple[Tensor, Tensor]] = []  # (α, β) of what has been taken from F: C = diag(w) − Σ α βᵀ
        self._tolerance = _TOLERANCE[samples.activations.dtype]
        resolution = 4 * (m * torch.finfo(torch.float64).eps) ** 0.5
        self.floor = resolution * (self.weights @ (self.gram_a * self.gram_g) @ self.weights).sqrt()
        """What a Gram form can tell from zero: singular values below 4√(mε)‖F‖ are rounding."""

    def leading(self, rank: int = 1) -> list[Pair]:
        """The `rank` leading triples, by one symmetric eigenproblem of size m; the first alone by power iteration.

        The first triple of F itself is positive semidefinite wherever that is possible (Krein–Rutman): so is what a
        power iteration comes to from a positive start.
        """
        if rank == 1 and not self._taken and (alpha := self._power()) is not None:
            return self._pairs(self.scale.new_full((1,), torch.inf), alpha.unsqueeze(1), 1)
        return self._decomposed(rank)

    def bidiagonalised(self, rank: int) -> list[Pair]:
        """The same triples by Golub–Kahan–Lanczos bidiagonalisation of L_Aᵀ C L_G, K_A = L_A L_Aᵀ, K_G = L_G L_Gᵀ.

        That m×m matrix has Z's singular values. The Krylov space starts from a positive vector. A core of up to
        `DIRECT` columns is decomposed at once, as for `leading`.

        Raises:
            FloatingPointError: the samples are not finite.

        """
        if len(self.weights) <= DIRECT:
            return self._decomposed(rank)
        core = self._root_a.mT @ self._coupled(self._root_g)
        _require_finite(core)
        triples = golub_kahan_lanczos(_Core(core), self._root_g.sum(0), rank, self._tolerance)
        sigmas, rights = self.weights.new_zeros(rank), self.weights.new_zeros(len(self.weights), rank)
        for k, triple in enumerate(triples):
            sigmas[k], rights[:, k] = triple.sigma, triple.right
        return self._pairs(sigmas, self._coupled(self._root_g @ rights), rank)

    def _decomposed(self, rank: int) -> list[Pair]:
        """With L Lᵀ = K_G, the eigenpairs (σ², y) of M = Lᵀ Cᵀ K_A C L give α = C L y/σ and β = Cᵀ K_A α/σ.

        Within the leading eigenspace the first y is the projection of a positive start, one power step from u = P1.
        """
        image = self._coupled(self._root_g)
        matrix, start = image.mT @ self.gram_a @ image, image.mT @ self.gram_a.sum(1)
        values, vectors = _leading_eigenpairs(matrix, rank, start)
        return self._pairs(values.sqrt(), image @ vectors, rank)

    def without(self, pair: Pair) -> Self:
        """C − σ α βᵀ."""
        return self._without(pair.sigma / self.scale * pair.left, pair.right)

    def without_kfac(self) -> Self:
        """C − w̃ w̃ᵀ/(T Σw), w̃ the weights of a_nt a_ntᵀ: zero where t < t'."""
        total = self._sample_weights.sum() * self.samples.positions
        diagonal = (self._sample_weights.unsqueeze(1) * (self._first == self._second)).flatten()
        return self._without(diagonal, diagonal / total)

    def factors(self, pair: Pair) -> tuple[Tensor, Tensor]:
        """√σ Σ α_n a_n a_nᵀ and √σ Σ β_n g_n g_nᵀ."""
        root = pair.sigma.sqrt()
        a, g = self.samples.by_position
        return (
            self._moment(a, pair.left * (root / self.scale_a.sqrt())),
            self._moment(g, pair.right * (root / self.scale_g.sqrt())),
        )

    def _power(self) -> Tensor | None:
        """α of the leading u by the power iteration α ← C K_G C K_A α; None where that does not converge fast.

        It starts from u = Z Zᵀvec(I), which is positive semidefinite and stays so, and holds at least 1/√d_in of the
        leading singular vector, as that is a semidefinite matrix of norm 1. It ends once ‖ZZᵀu − σ²u‖ ≤ ε σ²‖u‖.
        """
        w = self.weights

        def step(alpha: Tensor) -> Tensor:
            stepped: Tensor = w * (self.gram_g @ (w * (self.gram_a @ alpha)))
            return stepped

        alpha = w * (self.gram_g @ (w * self._traces))
        for _ in range(_POWER_BLOCKS):
            for _ in range(_POWER_STEPS):
                alpha = step(alpha)
            alpha = alpha / _norm(alpha, self.gram_a)
            image = step(alpha)
            square = image @ (self.gram_a @ alpha)
            if bool(_norm(image - square * alpha, self.gram_a) <= self._tolerance * square):
                return image
            alpha = image / square
        return None

    def _pair_gram(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """⟨sym(x_t x_t'ᵀ), sym(x_s x_s'ᵀ)⟩ of all pairs t ≤ t' of an example, (p, p), and the traces x_t·x_t', (p,).

        Both are scaled to a largest entry of 1 of the first; its scale is third. `rows` is (m, T, d).
        """
        flat = rows.flatten(0, 1)
        products, size = flat @ flat.mT, 1.0
        if not 1e-18 < products.diagonal().max() < 1e18:  # their squares may not be in range of float32
            size = float(flat.abs().max()) or 1.0
            products = (flat / size) @ (flat / size).mT
        products = products.double()
        gram, traces = self._of_pairs(products, rows)
        largest = _positive_max(gram)
        return gram.div_(largest), traces / largest.sqrt(), largest * size**4

    def _of_pairs(self, products: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        if rows.shape[1] == 1:
            return products.square(), products.diagonal()
        offsets = torch.arange(len(rows), device=rows.device).unsqueeze(1) * rows.shape[1]
        i, j = (offsets + self._first).flatten(), (offsets + self._second).flatten()
        straight, crossed = products[i][:, i] * products[j][:, j], products[i][:, j] * products[j][:, i]
        return (straight + crossed) / 2, products[i, j]

    def _moment(self, rows: Tensor, coefficients: Tensor) -> Tensor:
        """Σ c_ntt' sym(x_nt x_nt'ᵀ) over the pairs t ≤ t'."""
        m, t, _ = rows.shape
        flat = rows.flatten(0, 1)
        if t == 1:
            return moment(flat, coefficients)
        middle = rows.new_zeros(m, t, t)
        middle[:, self._first, self._second] = coefficients.to(rows.dtype).reshape(m, -1)
        product = flat.mT @ (middle @ rows).flatten(0, 1)
        return (product + product.mT).mul_(0.5)

    def _coupled(self, columns: Tensor, *, transposed: bool = False) -> Tensor:
        """C X of X (p, k), or CᵀX."""
        image = torch.as_tensor(self.weights.unsqueeze(1) * columns)
        for alpha, beta in self._taken:
            left, right = (beta, alpha) if transposed else (alpha, beta)
            image -= torch.outer(left, right @ columns)
        return image

    def _without(self, left: Tensor, right: Tensor) -> Self:
        residual = copy.copy(self)
        residual._taken = [*self._taken, (left, right)]
        return residual

    @cached_property
    def _root_a(self) -> Tensor:
        return _root(self.gram_a)

    @cached_property
    def _root_g(self) -> Tensor:
        return _root(self.gram_g)

    def _pairs(self, sigmas: Tensor, alphas: Tensor, rank: int) -> list[Pair]:
        """Complete the leading α ∝ u to triples of unit vectors, σ v = Zᵀu; zeros where σ is mere rounding."""
        zeros = torch.zeros_like(self.weights)
        pairs = [Pair(zeros[0], zeros, zeros)] * rank
        for k in range(min(rank, len(sigmas))):
            if sigmas[k] > self.floor:
                alpha = alphas[:, k] / _norm(alphas[:, k], self.gram_a)
                beta = self._coupled((self.gram_a @ alpha).unsqueeze(1), transposed=True).squeeze(1)
                sigma = _norm(beta, self.gram_g)
                if sigma > self.floor:
                    pairs[k] = Pair(sigma * self.scale, alpha, beta / sigma)
        return pairs


class _Core:
    """An operator that is at hand as a matrix."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix
        self.dimensions = (matrix.shape[0], matrix.shape[1])

    def apply(self, right: Tensor) -> Tensor:
        return right @ self.matrix.mT

    def apply_transposed(self, left: Tensor) -> Tensor:
        return left @ self.matrix

    def random_start(self, generator: Generator) -> Tensor:
        matrix = self.matrix
        return torch.randn(matrix.shape[1], generator=generator, dtype=matrix.dtype).to(matrix.device)


def _leading_eigenpairs(matrix: Tensor, count: int, start: Tensor) -> tuple[Tensor, Tensor]:
    """The largest eigenvalues of a positive semidefinite matrix, descending, and their eigenvectors as columns.

    In the leading eigenspace the first vector is the projection of `start`. A few pairs take 0.58 of the time of all of
    them (n = 128), on the host, where a small matrix of a GPU is sent to; all are found where so many are alike that
    the eigenspace may be larger.

    Raises:
        FloatingPointError: the matrix is not finite.

    """
    _require_finite(matrix)
    size = len(matrix)
    few = min(count + 1, size) if matrix.device.type == "cpu" or size <= DIRECT else size
    values, vectors = _largest(matrix, few)
    alike = _alike(values)
    if alike == few < size:
        values, vectors = _largest(matrix, size)
        alike = _alike(values)
    vectors[:, :alike] = vectors[:, :alike] @ turn_towards(start, vectors[:, :alike].mT).mT
    return values.clamp(min=0), vectors


def _largest(matrix: Tensor, count: int) -> tuple[Tensor, Tensor]:
    few = count < len(matrix)
    values, vectors = largest_eigenpairs(matrix, count) if few else torch.linalg.eigh(matrix)
    return values.flip(0), vectors.flip(1)


def _alike(values: Tensor) -> int:
    """How many are the largest, up to rounding."""
    return int((values >= values[0] * (1 - 1e-10)).sum())


def _require_finite(matrix: Tensor) -> None:
    if not all_finite([matrix]):
        raise FloatingPointError("the samples are not finite: activations or gradients are NaN or out of range")


def _root(gram: Tensor) -> Tensor:
    """L with L Lᵀ = K for a positive semidefinite K: Cholesky, or the spectral root where K is singular."""
    factor, info = torch.linalg.cholesky_ex(gram)
    if int(info) == 0:
        return torch.as_tensor(factor)
    values, vectors = torch.linalg.eigh(gram)
    return torch.as_tensor(vectors * values.clamp(min=0).sqrt())


def _positive_max(gram: Tensor) -> Tensor:
    largest = gram.diagonal().max()
    return torch.where(largest > 0, largest, torch.ones_like(largest))


def _norm(coefficients: Tensor, gram: Tensor) -> Tensor:
    return (coefficients @ gram @ coefficients).clamp(min=0).sqrt()
