"""The quadratic model of the loss on the training batch, with the exact Fisher matrix, by Jacobian-vector products.

    M(δ) = h(θ) + ∇hᵀδ + ½ δᵀ(F + λI)δ      F = mean_n J_nᵀ F_n J_n     J_n  Jacobian of the outputs of example n
                                                                        F_n  Fisher matrix of those outputs

Over the plane δ = −(α Δ + μ v) of the preconditioned gradient Δ and the previous step v it is least at

    [α, μ]ᵀ = Q⁻¹ b,   Q_ij = d_iᵀ(F + λI)d_j,   b_i = ∇hᵀd_i,   d = (Δ, v),      M(δ) − h(θ) = −½ bᵀ[α, μ]ᵀ

(Martens & Grosse 2015, §6.4 and §7). It asks for one Jacobian-vector product for Δ and one for v.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.func import functional_call, jvp

from kfsvd.network.capture import traceless

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor, nn

    from kfsvd.network.likelihoods import Likelihood
    from kfsvd.optimizers.observer import Call

    Direction = Mapping[str, Tensor]

LM_EVERY = 5
"""Iterations between Levenberg–Marquardt adjustments of λ (ibid., §6.5)."""
LM_FACTOR = (19 / 20) ** LM_EVERY
"""ω: what λ is multiplied with, or divided by."""


class Minimum(NamedTuple):
    """The least point of the model in the plane of the directions."""

    coefficients: Tensor  # (k,) float64, of the directions
    decrease: Tensor  # () float64, h(θ) − M ≥ 0
    loss: Tensor  # () float64, h(θ) on the batch


class QuadraticModel:
    """M on one call of the model.

    Args:
        model: the network.
        likelihood: of its outputs.
        call: the training batch with its labels.

    """

    def __init__(self, model: nn.Module, likelihood: Likelihood, call: Call) -> None:
        self.model, self.likelihood, self.call = model, likelihood, call

    def minimum(self, gradients: Direction, directions: Sequence[Direction], damping: float) -> Minimum:
        """The least point of M in the span of `directions`, which a step subtracts.

        Args:
            gradients: ∇h by the parameter's name.
            directions: Δ and v by the parameter's name; names not given count as zero.
            damping: λ.

        """
        outputs, tangents = self._tangents(directions)
        products = [self.likelihood.fisher_product(outputs, t).double() for t in tangents]
        n = len(outputs)
        curvature = torch.stack(
            [torch.stack([(t.double() * p).sum() / n for p in products]) for t in tangents]
        ) + damping * torch.stack([torch.stack([_dot(d, e) for e in directions]) for d in directions])
        slopes = torch.stack([_dot(gradients, d) for d in directions])
        coefficients = _solve(curvature, slopes)
        assert self.call.targets is not None
        loss = self.likelihood.negative_log_likelihood(outputs, self.call.targets).double().mean()
        return Minimum(coefficients, slopes @ coefficients / 2, loss)

    def loss(self) -> Tensor:
        """H on the batch at the weights as they are now, in float64; random layers draw as they did for `minimum`."""
        assert self.call.targets is not None
        with traceless(self.model), torch.no_grad():
            outputs = self.model(*self.call.arguments, **self.call.keywords)
        return self.likelihood.negative_log_likelihood(outputs, self.call.targets).double().mean()

    def _tangents(self, directions: Sequence[Direction]) -> tuple[Tensor, list[Tensor]]:
        """The outputs, and their change J d along each direction."""
        parameters = dict(self.model.named_parameters())
        tangents = []
        with torch.no_grad():
            for direction in directions:
                moved = {name: parameters[name].detach() for name in direction}

                def outputs_at(values: Direction) -> Tensor:
                    buffers = {name: buffer.clone() for name, buffer in self.model.named_buffers()}
                    state = {**buffers, **values}
                    result: Tensor = functional_call(self.model, state, self.call.arguments, dict(self.call.keywords))
                    return result

                with traceless(self.model), warnings.catch_warnings():
                    # torch's own: its forward-mode rules are still compiled with torch.jit.script
                    warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", DeprecationWarning)
                    outputs, tangent, *_ = jvp(outputs_at, (moved,), (dict(direction),))
                tangents.append(tangent)
        return outputs.detach(), tangents


def damping_after(damping: float, minimum: Minimum, loss: Tensor, floor: float) -> float:
    """λ by the Levenberg–Marquardt rule from the reduction ratio r = (h(θ) − h(θ + δ))/(h(θ) − M(δ)).

    λω for r > ¾, λ/ω for r < ¼, not below `floor`: without a floor λ decays without end where the model is good, and
    training stalls on the first batch that it misjudges.
    """
    ratio = float((minimum.loss - loss) / minimum.decrease.clamp(min=torch.finfo(torch.float64).tiny))
    if ratio > 0.75:
        return max(damping * LM_FACTOR, floor)
    return damping if ratio >= 0.25 else damping / LM_FACTOR


def _solve(curvature: Tensor, slopes: Tensor) -> Tensor:
    """Q⁻¹ b of one or two directions; the first alone where the two are all but parallel."""
    if len(slopes) == 2:
        determinant = torch.linalg.det(curvature)
        if determinant > 1e-10 * curvature[0, 0] * curvature[1, 1]:
            solution: Tensor = torch.linalg.solve(curvature, slopes)
            return solution
    first = slopes[0] / curvature[0, 0].clamp(min=torch.finfo(torch.float64).tiny)
    return torch.cat([first.unsqueeze(0), torch.zeros_like(slopes[1:])])


def _dot(left: Direction, right: Direction) -> Tensor:
    return torch.stack([(left[name].double() * right[name].double()).sum() for name in right]).sum()
