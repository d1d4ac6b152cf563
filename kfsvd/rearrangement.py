"""The Van Loan–Pitsianis rearrangement of a Fisher block, and its singular triples in Gram form.

Z(F) permutes the entries of F so that Z(A⊗B) = vec(A) vec(B)ᵀ; hence ‖F − A⊗B‖ = ‖Z(F) − vec(A)vec(B)ᵀ‖, and the
singular value decomposition of Z(F) is the Kronecker product SVD of F (Van Loan & Pitsianis 1993).

For samples, Z = P C Qᵀ, where the columns of P are vec(a_n a_nᵀ), those of Q are vec(g_n g_nᵀ), and the *coupling*
C = diag(w). Everything that is subtracted from F in these methods keeps that form and only changes C:

    F − Σ_k σ_k R_k⊗S_k,  R_k = Σ α_kn a_n a_nᵀ,  S_k = Σ β_kn g_n g_nᵀ     C = diag(w) − Σ_k σ_k α_k β_kᵀ
    F − A⊗G with KFAC's A = Σ w_n a_n a_nᵀ, G = Σ w_n g_n g_nᵀ             C = diag(w) − w wᵀ

So P and Q enter through K_A = PᵀP = (XXᵀ)∘² and K_G = QᵀQ = (YYᵀ)∘² alone, and no step costs more than O(m³),
whatever the layer's width. A singular vector u = Pα is the symmetric matrix Σ α_n a_n a_nᵀ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from kfsvd.samples import LayerSamples


class Triple(NamedTuple):
    """A singular triple (σ, u, v) of Z in coefficients: u = Pα and v = Qβ, both of norm 1."""

    sigma: Tensor  # () float64
    alpha: Tensor  # (m,) float64
    beta: Tensor  # (m,) float64


class GramProblem:
    """Z = P C Qᵀ of a layer's samples through its Gram matrices, in float64.

    Both Gram matrices are scaled to a unit largest entry, so that samples of any magnitude stay in range.
    """

    def __init__(self, samples: LayerSamples) -> None:
        self.samples = samples
        gram_a, gram_g = samples.grams
        self.scale_a, self.scale_g = _positive_max(gram_a), _positive_max(gram_g)
        self.gram_a, self.gram_g = gram_a / self.scale_a, gram_g / self.scale_g
        w = samples.normalised_weights
        self.coupling = torch.diag(w)
        resolution = 4 * (len(w) * torch.finfo(torch.float64).eps) ** 0.5
        self.floor = resolution * (w @ (self.gram_a * self.gram_g) @ w).sqrt()
        """What a Gram form can tell from zero: singular values below 4√(mε)‖F‖ are rounding."""

    def leading_triples(self, rank: int, coupling: Tensor | None = None) -> list[Triple]:
        """The `rank` leading singular triples of P C Qᵀ, by one symmetric eigenproblem of size m.

        With L Lᵀ = K_G, the eigenpairs (σ², y) of Lᵀ Cᵀ K_A C L give α = C L y/σ and β = Cᵀ K_A α/σ. The first
        triple is chosen positive semidefinite wherever one exists (Krein–Rutman): within the leading eigenspace y is
        the projection of a positive start, one power step from u = P1. Where σ is zero, so are the coefficients.
        """
        c = self.coupling if coupling is None else coupling
        left = c @ _root(self.gram_g)
        values, vectors = torch.linalg.eigh(_symmetric(left.mT @ self.gram_a @ left))
        values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
        vectors = _positive_first(values, vectors, start=left.mT @ self.gram_a.sum(1))
        return self._triples(values.sqrt(), left @ vectors, c, rank)

    def bidiagonalised_triples(self, rank: int) -> list[Triple]:
        """The same triples by Golub–Kahan–Lanczos bidiagonalisation, re-orthogonalised in full and twice.

        Bidiagonalised is L_Aᵀ C L_G, K_A = L_A L_Aᵀ and K_G = L_G L_Gᵀ, which has Z's singular values. The Krylov
        space grows to its full size m and is restarted with a fresh direction whenever it is exhausted before, so
        that repeated singular values are found as often as they occur.
        """
        root = _root(self.gram_g)
        core = _root(self.gram_a).mT @ self.coupling @ root
        m = len(core)
        generator = torch.Generator().manual_seed(m)
        left, right = torch.zeros_like(core), torch.zeros_like(core)
        bidiagonal = torch.zeros_like(core)
        positive = torch.rand(m, generator=generator, dtype=core.dtype).to(core.device) + 0.5
        right[:, 0], _ = _next_direction(root.mT @ positive, right[:, :0], generator)
        for k in range(m):
            left[:, k], bidiagonal[k, k] = _next_direction(core @ right[:, k], left[:, :k], generator)
            if k + 1 < m:
                image = core.mT @ left[:, k]
                right[:, k + 1], bidiagonal[k, k + 1] = _next_direction(image, right[:, : k + 1], generator)
        _, sigmas, vts = torch.linalg.svd(bidiagonal)
        start = torch.zeros_like(sigmas)
        start[0] = 1  # the positive start, in the coordinates of the Krylov basis
        vectors = right @ _positive_first(sigmas.square(), vts.mT, start)
        return self._triples(sigmas, self.coupling @ (root @ vectors), self.coupling, rank)

    def factors(self, triple: Triple) -> tuple[Tensor, Tensor]:
        """√σ mat(u) and √σ mat(v): the two factors of σ u vᵀ, of equal norm, in the samples' dtype and scale."""
        scale = (triple.sigma * (self.scale_a * self.scale_g).sqrt()).sqrt()
        return (
            self.samples.input_moment(triple.alpha * (scale / self.scale_a.sqrt())),
            self.samples.output_moment(triple.beta * (scale / self.scale_g.sqrt())),
        )

    def _triples(self, sigmas: Tensor, alphas: Tensor, coupling: Tensor, rank: int) -> list[Triple]:
        """Complete the leading α ∝ u to triples of unit vectors, σ v = Zᵀu; zero triples where σ is mere rounding."""
        zeros = torch.zeros_like(sigmas)
        triples = [Triple(zeros[0], zeros, zeros)] * rank
        for k in range(min(rank, len(sigmas))):
            if sigmas[k] > self.floor:
                alpha = alphas[:, k] / _norm(alphas[:, k], self.gram_a)
                beta = coupling.mT @ (self.gram_a @ alpha)
                sigma = _norm(beta, self.gram_g)
                if sigma > self.floor:
                    triples[k] = Triple(sigma, alpha, beta / sigma)
        return triples


def _positive_first(values: Tensor, vectors: Tensor, start: Tensor) -> Tensor:
    """Turn the basis of the leading eigenspace so that its first vector is the projection of `start`."""
    size = int((values >= values[0] * (1 - 1e-10)).sum())
    coordinates = vectors[:, :size].mT @ start
    length = torch.linalg.vector_norm(coordinates)
    if not length > 1e-8 * torch.linalg.vector_norm(start):
        return vectors  # the start has no part there: there is no positive member to choose
    rotation, _ = torch.linalg.qr((coordinates / length).unsqueeze(1), mode="complete")
    rotation[:, 0] = coordinates / length
    return torch.cat([vectors[:, :size] @ rotation, vectors[:, size:]], 1)


def _root(gram: Tensor) -> Tensor:
    """L with L Lᵀ = K for a positive semidefinite K: Cholesky, or the spectral root where K is singular."""
    factor, info = torch.linalg.cholesky_ex(gram)
    if int(info) == 0:
        return torch.as_tensor(factor)
    values, vectors = torch.linalg.eigh(gram)
    return torch.as_tensor(vectors * values.clamp(min=0).sqrt())


def _positive_max(gram: Tensor) -> Tensor:
    largest = gram.max()
    return torch.where(largest > 0, largest, torch.ones_like(largest))


def _symmetric(matrix: Tensor) -> Tensor:
    return (matrix + matrix.mT) / 2


def _norm(coefficients: Tensor, gram: Tensor) -> Tensor:
    return (coefficients @ gram @ coefficients).clamp(min=0).sqrt()


def _next_direction(image: Tensor, basis: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """The part of `image` orthogonal to the columns of `basis`, as a unit vector and its length.

    Where nothing is left of it: a fresh random direction orthogonal to the basis, and length 0.
    """
    remainder = _orthogonalise(image, basis)
    length = torch.linalg.vector_norm(remainder)
    if length > 1e-14 * torch.linalg.vector_norm(image):
        return remainder / length, length
    fresh = torch.rand(len(image), generator=generator, dtype=image.dtype).to(image.device) - 0.5
    fresh = _orthogonalise(fresh, basis)
    return fresh / torch.linalg.vector_norm(fresh), torch.zeros_like(length)


def _orthogonalise(vector: Tensor, basis: Tensor) -> Tensor:
    for _ in range(2):
        vector = vector - basis @ (basis.mT @ vector)
    return vector
