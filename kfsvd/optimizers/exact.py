"""The exact natural gradient of the sampled Fisher matrix: the oracle that approximations are held against."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Unpack, get_args

from kfsvd.approximations.exact import Exact
from kfsvd.exact import SampledFisher, WoodburyInverse
from kfsvd.optimizers.natural_gradient import NaturalGradient

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from kfsvd.optimizers.layer import PreconditionedLayer
    from kfsvd.optimizers.options import Options

Blocks = Literal["network", "layers"]


class ExactNaturalGradient(NaturalGradient):
    """Δ = (F + λI)⁻¹ ∇h with the Fisher matrix F of the curvature batch itself, by Woodbury's identity.

    Nothing is approximated but the expectation over the data. A step costs products with the samples, O(m d), and a
    refresh the Gram matrix of m samples; nothing of the size of a layer's factors is inverted.

    Args:
        model: as in `NaturalGradient`.
        likelihood: as in `NaturalGradient`.
        blocks: "network" for the whole Fisher matrix with its off-diagonal blocks, "layers" for its diagonal blocks.
        options: those of `NaturalGradient`, with other defaults: `curvature_batch` 1 (the whole batch), `averaging`
            "samples" (the only one), `decay` 0 (the newest batch alone).

    Raises:
        ValueError: as `NaturalGradient`, or no such blocks.

    """

    def __init__(
        self, model: nn.Module, likelihood: str, *, blocks: Blocks = "network", **options: Unpack[Options]
    ) -> None:
        if blocks not in get_args(Blocks):
            raise ValueError(f"blocks must be one of {', '.join(get_args(Blocks))}; got {blocks!r}")
        self.blocks = blocks
        self._joint: WoodburyInverse | None = None
        options.setdefault("averaging", "samples")
        options.setdefault("decay", 0.0)
        options.setdefault("curvature_batch", 1.0)
        super().__init__(model, likelihood, approximation=Exact(), **options)

    def _prepare_inverses(self) -> None:
        if self.blocks == "layers":
            super()._prepare_inverses()
            return
        fishers = {id(layer): layer.inverted for layer in self._layers.values()}
        samples = {key: fisher.samples for key, fisher in fishers.items() if isinstance(fisher, SampledFisher)}
        self._joint = WoodburyInverse(list(samples.values()), self._inverse_damping) if samples else None
        self._joined = [layer for layer in self._layers.values() if id(layer) in samples]

    def _preconditioned(self, layers: Sequence[PreconditionedLayer], gradients: Sequence[Tensor]) -> list[Tensor]:
        if self._joint is None:
            return super()._preconditioned(layers, gradients)
        given = {id(layer): gradient for layer, gradient in zip(layers, gradients, strict=True)}
        zeros = {id(la): gradients[0].new_zeros(la.inverted.shape) for la in self._joined if la.inverted is not None}
        joint = self._joint.joint([{**zeros, **given}[id(layer)] for layer in self._joined])
        steps = {id(layer): step for layer, step in zip(self._joined, joint, strict=True)}
        return [steps[id(layer)] for layer in layers]
