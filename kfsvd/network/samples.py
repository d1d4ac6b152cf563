"""The samples that a layer's Fisher block is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_CHUNK = 1 << 24  # numbers in one piece of per-example gradients: 128 MB in float64


@dataclass(frozen=True, eq=False)
class LayerSamples:
    """F = Σ_n w_n vec(G_n) vec(G_n)ᵀ, G_n = Σ_t g_nt a_ntᵀ: one layer's Fisher block, kept as its samples.

    A layer that is applied once to each example has one *position* t, so that F = Σ_n w_n (a_n a_nᵀ) ⊗ (g_n g_nᵀ). A
    convolution has one for each output pixel, a linear layer on a sequence one for each token, and a layer that is
    used several times all of them together.

    Args:
        activations: (m, d_in), or (m, T, d_in) with T positions: the layer's inputs a, with the bias's 1 already
            appended where there is one.
        gradients: (m, d_out) or (m, T, d_out): the gradients g = ∂(−log p(y_n|x_n))/∂s of the pre-activations, y_n
            sampled from the model.
        weights: (m,), the non-negative weights w_n; 1/m each if not given.

    Raises:
        ValueError: shapes that do not agree, no sample at all, or dtypes that are not one and the same float.

    """

    activations: Tensor
    gradients: Tensor
    weights: Tensor | None = None

    def __post_init__(self) -> None:
        a, g, w = self.activations, self.gradients, self.weights
        if a.ndim not in (2, 3) or a.shape[:-1] != g.shape[:-1]:
            raise ValueError(
                "activations and gradients must be (m, d_in) and (m, d_out), or (m, T, d_in) and (m, T, d_out); "
                f"got {tuple(a.shape)}, {tuple(g.shape)}"
            )
        if a.shape[:-1].numel() == 0:
            raise ValueError("a Fisher block needs at least one sample; got none")
        if not a.dtype.is_floating_point or a.dtype != g.dtype:
            raise ValueError(f"activations and gradients must share one float dtype; got {a.dtype} and {g.dtype}")
        if w is not None and (w.shape != (len(a),) or bool((w < 0).any())):
            raise ValueError(f"weights must be {len(a)} non-negative numbers; got shape {tuple(w.shape)}")

    def __len__(self) -> int:
        return len(self.activations)

    @property
    def positions(self) -> int:
        """T, the number of times that the layer is applied to an example."""
        return self.activations.shape[1] if self.activations.ndim == 3 else 1

    @property
    def shape(self) -> tuple[int, int]:
        """(d_out, d_in), the shape of the layer's weight with its bias."""
        return self.gradients.shape[-1], self.activations.shape[-1]

    @property
    def normalised_weights(self) -> Tensor:
        """(m,) float64: the weights as given, or 1/m each."""
        if self.weights is None:
            m = len(self)
            return torch.full((m,), 1.0 / m, dtype=torch.float64, device=self.activations.device)
        return self.weights.to(torch.float64)

    @property
    def by_position(self) -> tuple[Tensor, Tensor]:
        """Activations (m, T, d_in) and gradients (m, T, d_out), T = 1 where there is one position."""
        if self.activations.ndim == 3:
            return self.activations, self.gradients
        return self.activations.unsqueeze(1), self.gradients.unsqueeze(1)

    def double(self) -> LayerSamples:
        """The same samples in float64."""
        return LayerSamples(self.activations.double(), self.gradients.double(), self.weights)

    def gradient_chunks(self) -> Iterator[tuple[slice, Tensor]]:
        """The per-example gradients G_n, (chunk, d_out, d_in), in pieces that fit into memory."""
        a, g = self.by_position
        size = max(1, _CHUNK // (a.shape[-1] * g.shape[-1]))
        for start in range(0, len(self), size):
            chosen = slice(start, start + size)
            yield chosen, g[chosen].mT @ a[chosen]

    def gradient_gram(self, other: LayerSamples | None = None) -> Tensor:
        """⟨G_n, G'_n'⟩, (m, m') in float64, with the gradients of `other` samples (its own if not given).

        With one position it is (X X'ᵀ)∘(Y Y'ᵀ).

        Args:
            other: samples of a layer of the same shape.

        """
        mine, others = self.double(), (self if other is None else other).double()
        (a, g), (b, h) = mine.by_position, others.by_position
        if a.shape[1] == 1 or a.shape[1] * len(b) * b.shape[1] <= a.shape[2] * g.shape[2]:
            # by products of positions, where they are fewer than the numbers of the gradients themselves
            products = (a.flatten(0, 1) @ b.flatten(0, 1).mT).mul_(g.flatten(0, 1) @ h.flatten(0, 1).mT)
            return products.reshape(*a.shape[:2], *b.shape[:2]).sum((1, 3))
        gram = a.new_zeros(len(a), len(b))
        for rows, left in mine.gradient_chunks():
            for columns, right in others.gradient_chunks():
                gram[rows, columns] = left.flatten(1) @ right.flatten(1).mT
        return gram

    def input_moment(self, coefficients: Tensor) -> Tensor:
        """Σ_n c_n Σ_t a_nt a_ntᵀ, (d_in, d_in), in the samples' own dtype.

        Args:
            coefficients: c (m,).

        """
        return _moment(self.activations, coefficients)

    def output_moment(self, coefficients: Tensor) -> Tensor:
        """Σ_n c_n Σ_t g_nt g_ntᵀ, (d_out, d_out), in the samples' own dtype.

        Args:
            coefficients: c (m,).

        """
        return _moment(self.gradients, coefficients)

    def project(self, gradient: Tensor) -> Tensor:
        """⟨G_n, V⟩ for every example, (m,).

        Args:
            gradient: V (d_out, d_in).

        """
        a, g = self.by_position
        return ((a @ gradient.mT) * g).sum((1, 2))

    def combine(self, coefficients: Tensor) -> Tensor:
        """Σ_n c_n G_n, (d_out, d_in).

        Args:
            coefficients: c (m,).

        """
        a, g = self.by_position
        return (g * coefficients[:, None, None]).flatten(0, 1).mT @ a.flatten(0, 1)

    def rearranged_product(self, outer: Tensor) -> Tensor:
        """Z vec(V) as a matrix: Σ_n w_n G_nᵀ V G_n, (d_in, d_in); see `kfsvd.rearrangement`.

        With one position it is Xᵀ diag(w c) X, c_n = g_nᵀ V g_n.

        Args:
            outer: V (d_out, d_out), symmetric.

        """
        a, g = self.by_position
        return _sandwich(g, outer, a, self.normalised_weights)

    def rearranged_product_transposed(self, inner: Tensor) -> Tensor:
        """Zᵀ vec(U) as a matrix: Σ_n w_n G_n U G_nᵀ, (d_out, d_out).

        Args:
            inner: U (d_in, d_in), symmetric.

        """
        a, g = self.by_position
        return _sandwich(a, inner, g, self.normalised_weights)

    def second_moment(self, basis_in: Tensor, basis_out: Tensor) -> Tensor:
        """Σ_n w_n (U_outᵀ G_n U_in)∘², (d_out, d_in) in the samples' dtype: diag F in the basis U_in ⊗ U_out.

        Args:
            basis_in: U_in (d_in, d_in), orthonormal columns.
            basis_out: U_out (d_out, d_out), likewise.

        """
        rotated = LayerSamples(self.activations @ basis_in, self.gradients @ basis_out)
        w = self.normalised_weights.to(basis_in.dtype)
        a, g = rotated.by_position
        if self.positions == 1:
            return (g[:, 0].square() * w.unsqueeze(1)).mT @ a[:, 0].square()
        total = torch.zeros(self.shape, dtype=a.dtype, device=a.device)
        for chosen, gradients in rotated.gradient_chunks():
            total += torch.einsum("noi,n->oi", gradients.square_(), w[chosen])
        return total

    def dense(self) -> Tensor:
        """F itself, (d_in·d_out)², for tests and tiny layers."""
        a, g = self.by_position
        products = torch.einsum("nti,nto->nio", a, g).flatten(1)
        return _moment(products, self.normalised_weights)


def merged(parts: Sequence[LayerSamples], weights: Sequence[float]) -> LayerSamples:
    """The samples of Σ_k v_k F_k: all of `parts`, with the weights of part k multiplied by v_k."""
    return LayerSamples(
        torch.cat([part.activations for part in parts]),
        torch.cat([part.gradients for part in parts]),
        torch.cat([v * part.normalised_weights for part, v in zip(parts, weights, strict=True)]),
    )


def moment(rows: Tensor, coefficients: Tensor) -> Tensor:
    """Σ_n c_n x_n x_nᵀ of rows x (m, d), (d, d) in their dtype, symmetric to the last bit.

    On a CPU the part above the diagonal alone is formed, strip by strip, and mirrored: that takes 0.62 of the time at
    d = 1001 and 0.38 at 2001 (128 rows, float32, one core).

    Args:
        rows: X (m, d).
        coefficients: c (m,).

    """
    weighted, d = rows * coefficients.to(rows.dtype).unsqueeze(1), rows.shape[1]
    if d <= 2 * STRIP or rows.device.type != "cpu":
        return _symmetric_part(weighted.mT @ rows)
    product = rows.new_empty(d, d)
    for begin in range(0, d, STRIP):
        end = min(begin + STRIP, d)
        torch.mm(weighted[:, begin:end].mT, rows[:, begin:], out=product[begin:end, begin:])
        product[begin:end, begin:end] = _symmetric_part(product[begin:end, begin:end])
        product[end:, begin:end] = product[begin:end, end:].mT
    return product


STRIP = 192
"""Rows of a moment that are formed at once on a CPU."""


def _symmetric_part(matrix: Tensor) -> Tensor:
    return (matrix + matrix.mT).mul_(0.5)


def _moment(rows: Tensor, coefficients: Tensor) -> Tensor:
    if rows.ndim == 3:
        coefficients = coefficients.repeat_interleave(rows.shape[1])
    return moment(rows.flatten(0, -2), coefficients)


def _sandwich(outer: Tensor, middle: Tensor, inner: Tensor, weights: Tensor) -> Tensor:
    """Σ_n w_n H_nᵀ M H_n, H_n = Σ_t outer_nt inner_ntᵀ; `outer` (m, T, p), `middle` (p, p), `inner` (m, T, q)."""
    products = outer @ middle @ outer.mT * weights.to(outer.dtype)[:, None, None]  # (m, T, T)
    flat = inner.flatten(0, 1)
    if products.shape[1] == 1:
        return flat.mT @ (flat * products.reshape(-1, 1))
    return flat.mT @ (products @ inner).flatten(0, 1)
