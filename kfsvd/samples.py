"""The samples that a layer's Fisher block is made of."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class LayerSamples:
    """F = Σ_n w_n (a_n a_nᵀ) ⊗ (g_n g_nᵀ): one layer's Fisher block, kept as its samples.

    Args:
        activations: (m, d_in), the layer's inputs a_n, with the bias's 1 already appended where there is one.
        gradients: (m, d_out), the gradients g_n = ∂(−log p(y_n|x_n))/∂s of the pre-activations, y_n sampled
            from the model.
        weights: (m,), the non-negative weights w_n; 1/m each if not given.

    Raises:
        ValueError: shapes that do not agree, no sample at all, or dtypes that are not one and the same float.

    """

    activations: Tensor
    gradients: Tensor
    weights: Tensor | None = None

    def __post_init__(self) -> None:
        a, g, w = self.activations, self.gradients, self.weights
        if a.ndim != 2 or g.ndim != 2 or len(a) != len(g):
            raise ValueError(
                f"activations and gradients must be (m, d_in) and (m, d_out); got {tuple(a.shape)}, {tuple(g.shape)}"
            )
        if len(a) == 0:
            raise ValueError("a Fisher block needs at least one sample; got none")
        if not a.dtype.is_floating_point or a.dtype != g.dtype:
            raise ValueError(f"activations and gradients must share one float dtype; got {a.dtype} and {g.dtype}")
        if w is not None and (w.shape != (len(a),) or bool((w < 0).any())):
            raise ValueError(f"weights must be {len(a)} non-negative numbers; got shape {tuple(w.shape)}")

    def __len__(self) -> int:
        return len(self.activations)

    @property
    def normalised_weights(self) -> Tensor:
        """(m,) float64: the weights as given, or 1/m each."""
        if self.weights is None:
            m = len(self)
            return torch.full((m,), 1.0 / m, dtype=torch.float64, device=self.activations.device)
        return self.weights.to(torch.float64)

    @property
    def grams(self) -> tuple[Tensor, Tensor]:
        """K_A = (X Xᵀ)∘² and K_G = (Y Yᵀ)∘², both (m, m) in float64.

        They are the Gram matrices of vec(a_n a_nᵀ) and of vec(g_n g_nᵀ).
        """
        x, y = self.activations.double(), self.gradients.double()
        return (x @ x.mT).square_(), (y @ y.mT).square_()

    def input_moment(self, coefficients: Tensor) -> Tensor:
        """Σ_n c_n a_n a_nᵀ, (d_in, d_in), in the samples' own dtype; `coefficients`: (m,)."""
        return _moment(self.activations, coefficients)

    def output_moment(self, coefficients: Tensor) -> Tensor:
        """Σ_n c_n g_n g_nᵀ, (d_out, d_out), in the samples' own dtype; `coefficients`: (m,)."""
        return _moment(self.gradients, coefficients)

    def dense(self) -> Tensor:
        """F itself, (d_in·d_out)², for tests and tiny layers."""
        products = torch.einsum("ni,no->nio", self.activations, self.gradients).flatten(1)
        return _moment(products, self.normalised_weights)


def _moment(rows: Tensor, coefficients: Tensor) -> Tensor:
    scaled = rows * coefficients.to(rows.dtype).unsqueeze(1)
    moment = rows.mT @ scaled
    return (moment + moment.mT).mul_(0.5)
