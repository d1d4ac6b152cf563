"""SWAN: SGD with normalised and whitened gradients (Ma et al. 2024, arXiv 2412.13148); no packaged library has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Unpack

import torch

from kfsvd.optimizers.matrices import MatrixOptimizer
from kfsvd.options.matrices import SWANOptions

if TYPE_CHECKING:
    from torch import Tensor, nn


class SWAN(MatrixOptimizer):
    """ΔW = ‖G̃‖_F (G̃G̃ᵀ)^{-1/2}G̃/‖·‖_F, G̃ = (G − mean)/std by rows: without any state (Ma et al. 2024).

    Rows are normalised, then whitened by a Newton–Schulz iteration, then given back their norm, so that a step's
    entries are of size η, as Adam's. Of a weight with more rows than columns the smaller Gram matrix G̃ᵀG̃ is taken: the
    polar factor is the same. Biases are updated by AdamW.

    Args:
        model: as in `MatrixOptimizer`.
        likelihood: as in `MatrixOptimizer`.
        options: `lr` η; `weight_decay`; `whitening_steps` of the Newton–Schulz iteration, 6 to 10: directions far below
            the largest need more; `fallback_lr` of AdamW on biases and all else.

    Raises:
        ValueError: an option out of range, or as `MatrixOptimizer`.
        TypeError: as `MatrixOptimizer`.

    """

    declares: ClassVar[type[Any]] = SWANOptions

    def __init__(self, model: nn.Module, likelihood: str | None = None, **options: Unpack[SWANOptions]) -> None:
        super().__init__(model, likelihood, **options)
        self.whitening_steps: int = self.options["whitening_steps"]

    def _step_of(self, gradient: Tensor, state: dict[str, Any]) -> Tensor:
        normalised = normalised_rows(gradient)
        white = whitened(normalised, self.whitening_steps)
        return white * _ratio(torch.linalg.vector_norm(normalised), torch.linalg.vector_norm(white))


def normalised_rows(gradient: Tensor) -> Tensor:
    """G̃ = (G − mean)/std, mean and standard deviation of each row; rows that are constant become zero.

    Args:
        gradient: G (d_out, d_in).

    """
    # a row is scaled to size one first: the squares of small gradients would be lost
    largest = gradient.abs().amax(1, keepdim=True)
    rows = gradient * _ratio(torch.ones_like(largest), largest)
    centred = rows - rows.mean(1, keepdim=True)
    deviation = centred.square().mean(1, keepdim=True).sqrt()
    rounding = 4 * torch.finfo(gradient.dtype).eps  # what is left of a constant row
    return torch.where(deviation > rounding, centred / deviation, 0)


def whitened(matrix: Tensor, steps: int) -> Tensor:
    """(M Mᵀ)^{-1/2} M by the coupled Newton–Schulz iteration; zero of a zero matrix.

    Y ← ½Y(3I − ZY), Z ← ½(3I − ZY)Z from Y = MMᵀ/‖MMᵀ‖_F, Z = I; Z tends to Y₀^{-1/2} on the range of M.

    Args:
        matrix: M (p, q).
        steps: of the iteration.

    """
    if matrix.shape[0] > matrix.shape[1]:
        return whitened(matrix.mT, steps).mT
    gram = matrix @ matrix.mT
    norm = torch.linalg.matrix_norm(gram)
    y = gram * _ratio(torch.ones_like(norm), norm)
    identity = torch.eye(len(y), dtype=y.dtype, device=y.device)
    z = identity
    for _ in range(steps):
        half = (3 * identity - z @ y) / 2
        y, z = y @ half, half @ z
    return z @ matrix * _ratio(torch.ones_like(norm), norm.sqrt())


def _ratio(above: Tensor, below: Tensor) -> Tensor:
    """Above/below, and 0 where there is nothing below."""
    return torch.where(below > 0, above / below, 0)
