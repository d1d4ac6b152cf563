"""The exact natural gradient of the sampled Fisher matrix: the oracle that approximations are held against."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Unpack, get_args

from kfsvd.approximations.exact import Exact
from kfsvd.exact import SampledFisher, WoodburyInverse
from kfsvd.optimizers.natural_gradient import NaturalGradient, Options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from kfsvd.optimizers.natural_gradient import _Layer

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
        fishers = [layer.inverted for layer in self._layers.values()]
        samples = [fisher.samples for fisher in fishers if isinstance(fisher, SampledFisher)]
        self._joint = WoodburyInverse(samples, self._inverse_damping)

    def _preconditioned(self, layers: Sequence[_Layer], gradients: Sequence[Tensor]) -> list[Tensor]:
        if self._joint is None:
            return super()._preconditioned(layers, gradients)
        by_layer = {id(layer): gradient for layer, gradient in zip(layers, gradients, strict=True)}
        everything = list(self._layers.values())
        joint = self._joint.joint([by_layer.get(id(layer), layer.gradient()) for layer in everything])
        return [step for layer, step in zip(everything, joint, strict=True) if id(layer) in by_layer]
