"""The rearranged Fisher block by its products with matrices of the layer's own width.

    Z vec(V)  = vec(Σ w_n G_nᵀ V G_n)        one position: Xᵀ diag(w c) X, c_n = g_nᵀ V g_n
    Zᵀ vec(U) = vec(Σ w_n G_n U G_nᵀ)        one position: Yᵀ diag(w d) Y, d_n = a_nᵀ U a_n

Nothing here grows with m² : for many samples or positions and layers that are not wide.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

from kfsvd.network.samples import LayerSamples
from kfsvd.rearrangement.base import Pair, Rearrangement
from kfsvd.rearrangement.krylov import Triple, golub_kahan_lanczos, power_svd

if TYPE_CHECKING:
    from typing import Self

    from torch import Generator, Tensor

TOLERANCE = {torch.float64: 1e-11, torch.float32: 2e-6}
"""Relative residual ‖Zv − σu‖/σ at which an iteration ends."""


class MatrixFreeRearrangement(Rearrangement):
    """Z(F) through its products, in the samples' own dtype.

    Activations and gradients are scaled to a largest entry of 1, so that samples of any magnitude stay in range.
    """

    def __init__(self, samples: LayerSamples) -> None:
        a, g = samples.by_position
        self._scale_a, self._scale_g = _largest(a), _largest(g)
        a, g = a / self._scale_a, g / self._scale_g
        d_out, d_in = samples.shape
        if samples.positions > min(d_in, d_out):  # the gradients themselves are smaller than what they are made of
            g, a = (g.mT @ a).mT, torch.eye(d_in, dtype=a.dtype, device=a.device).expand(len(a), d_in, d_in)
        w = samples.normalised_weights
        self._scale_w = w.max().clamp(min=torch.finfo(w.dtype).tiny)
        self._scaled = LayerSamples(a, g, w / self._scale_w)
        self._samples = samples
        self.dimensions = d_in**2, d_out**2
        self._scale = (self._scale_a.double() * self._scale_g.double()).square() * self._scale_w
        self._taken: list[tuple[Tensor, Tensor]] = []  # (σ u, v), scaled
        self._rounding = 0.0  # σ below which a residual is rounding of what was taken

    def apply(self, right: Tensor) -> Tensor:
        """Z v of v (d_out²,), or of every row of such vectors, in the scaled samples."""
        if right.ndim > 1:
            return torch.stack([self.apply(row) for row in right])
        d_out = self._samples.shape[0]
        image = self._symmetric(self._scaled.rearranged_product(right.reshape(d_out, d_out)))
        for left, taken in self._taken:
            image = image - left * (taken @ right)
        return image

    def apply_transposed(self, left: Tensor) -> Tensor:
        """Zᵀ u of u (d_in²,), or of every row of such vectors, in the scaled samples."""
        if left.ndim > 1:
            return torch.stack([self.apply_transposed(row) for row in left])
        d_in = self._samples.shape[1]
        image = self._symmetric(self._scaled.rearranged_product_transposed(left.reshape(d_in, d_in)))
        for taken, right in self._taken:
            image = image - right * (taken @ left)
        return image

    def leading(self, rank: int = 1) -> list[Pair]:
        """Power iteration, one triple after the other."""
        if rank > 1:
            (first,) = self.leading()
            return [first, *self.without(first).leading(rank - 1)]
        triple = power_svd(self, self._start(), self._tolerance)
        return self._pairs([triple] if triple is not None else self._lanczos(1), 1)

    def bidiagonalised(self, rank: int) -> list[Pair]:
        """Golub–Kahan–Lanczos on the products."""
        return self._pairs(self._lanczos(rank), rank)

    def without(self, pair: Pair) -> Self:
        """Z − σ u vᵀ."""
        return self._without(pair.left * (pair.sigma / self._scale).to(pair.left.dtype), pair.right)

    def without_kfac(self) -> Self:
        """Z − vec(A) vec(G)ᵀ."""
        samples, w = self._samples, self._samples.normalised_weights
        scaled = LayerSamples(samples.activations / self._scale_a, samples.gradients / self._scale_g)
        a = scaled.input_moment(w / self._scale_w)
        g = scaled.output_moment(w / (w.sum() * samples.positions))
        return self._without(a.flatten(), g.flatten())

    def factors(self, pair: Pair) -> tuple[Tensor, Tensor]:
        """√σ mat(u) and √σ mat(v)."""
        d_out, d_in = self._samples.shape
        root = pair.sigma.sqrt().to(pair.left.dtype)
        left, right = pair.left.reshape(d_in, d_in), pair.right.reshape(d_out, d_out)
        return (left + left.mT) * (root / 2), (right + right.mT) * (root / 2)

    def random_start(self, generator: Generator) -> Tensor:
        """A random symmetric matrix."""
        d_out = self._samples.shape[0]
        noise = torch.randn(d_out, d_out, generator=generator, dtype=self._like.dtype)
        return (noise + noise.mT).flatten().to(self._like.device)

    def _symmetric(self, image: Tensor) -> Tensor:
        """With several positions a skew part of mere rounding could grow from step to step."""
        return (image if self._scaled.positions == 1 else (image + image.mT) / 2).flatten()

    def _start(self) -> Tensor:
        """The identity for F itself, which keeps the first pair positive; a random symmetric matrix for a residual."""
        if self._taken:
            return self.random_start(torch.Generator().manual_seed(len(self._taken)))
        identity = torch.eye(self._samples.shape[0], dtype=self._like.dtype, device=self._like.device)
        return identity.flatten()

    @property
    def _like(self) -> Tensor:
        return self._scaled.gradients

    @property
    def _tolerance(self) -> float:
        return TOLERANCE[self._like.dtype]

    def _lanczos(self, rank: int) -> list[Triple]:
        return golub_kahan_lanczos(self, self._start(), rank, self._tolerance)

    def _pairs(self, triples: list[Triple], rank: int) -> list[Pair]:
        left, right = (self._like.new_zeros(dimension) for dimension in self.dimensions)
        zero = Pair(torch.zeros((), dtype=torch.float64, device=left.device), left, right)
        pairs = [Pair(t.sigma.double() * self._scale, t.left, t.right) for t in triples if t.sigma > self._rounding]
        return [*pairs, *[zero] * (rank - len(pairs))]

    def _without(self, left: Tensor, right: Tensor) -> Self:
        residual = copy.copy(self)
        residual._taken = [*self._taken, (left, right)]
        taken = float(left.norm() * right.norm())
        residual._rounding = max(self._rounding, 32 * torch.finfo(left.dtype).eps * taken)
        return residual


def _largest(values: Tensor) -> Tensor:
    largest = values.abs().max()
    return torch.where(largest > 0, largest, torch.ones_like(largest))
