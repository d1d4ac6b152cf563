"""The exact natural gradient of the sampled Fisher matrix: the oracle that approximations are held against."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Unpack, cast

from kfsvd.approximations.exact import Exact
from kfsvd.curvature.sampled import SampledFisher, WoodburyInverse
from kfsvd.inverse.damped import DenseDirection, Direction
from kfsvd.optimizers.checkpoint import plain, restored
from kfsvd.optimizers.natural_gradient import NaturalGradient
from kfsvd.options.natural_gradient import EXACT, ExactOptions, Options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from kfsvd.optimizers.layer import PreconditionedLayer
    from kfsvd.options.choices import Blocks


class ExactNaturalGradient(NaturalGradient):
    """Δ = (F + λI)⁻¹ ∇h with the Fisher matrix F of the curvature batch itself, by Woodbury's identity.

    Nothing is approximated but the expectation over the data. A step costs products with the samples, O(m d), and a
    refresh the Gram matrix of m samples; nothing of the size of a layer's factors is inverted.

    Args:
        model: as in `NaturalGradient`.
        likelihood: as in `NaturalGradient`.
        options: those of `NaturalGradient`, with other defaults: `curvature_batch` 1 (the whole batch), `averaging`
            "samples" (the only one), `decay` 0 (the newest batch alone); and `blocks`: "network" for the whole Fisher
            matrix with its off-diagonal blocks, "layers" for its diagonal blocks.

    Raises:
        ValueError: as `NaturalGradient`, or no such blocks.

    """

    declares: ClassVar[type[Any]] = ExactOptions
    published: ClassVar[Options] = EXACT

    def __init__(self, model: nn.Module, likelihood: str, **options: Unpack[ExactOptions]) -> None:
        super().__init__(model, likelihood, approximation=Exact(), **cast("Options", options))
        self.blocks: Blocks = self.options["blocks"]
        self._joint: WoodburyInverse | None = None

    def state_dict(self) -> dict[str, Any]:
        """As `NaturalGradient`'s, with the joint inverse."""
        state = super().state_dict()
        joined = [name for name, layer in self._layers.items() if layer.inverse is not None]
        state["natural_gradient"]["joint"] = {"inverse": plain(self._joint), "layers": joined}
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a `state_dict`.

        Raises:
            ValueError: the state is of another kind of optimizer, of other layers, or of other blocks.

        """
        super().load_state_dict(state_dict)
        joint = state_dict["natural_gradient"]["joint"]
        self._joint = restored(joint["inverse"], self._device_generator.device)
        if self._joint is not None:
            for name in joint["layers"]:
                self._layers[name].inverse = self._joint

    def _inverse_state(self, layer: PreconditionedLayer) -> Any:
        return super()._inverse_state(layer) if self._joint is None else None

    def _refresh_inverses(self) -> None:
        if self.blocks == "layers":
            super()._refresh_inverses()
            return
        fishers = {name: layer.running.curvature for name, layer in self._layers.items()}
        samples = {name: fisher.samples for name, fisher in fishers.items() if isinstance(fisher, SampledFisher)}
        damping = self.param_groups[0]["damping"]
        self._joint = WoodburyInverse.of(list(samples.values()), damping) if samples else None
        for name, layer in self._layers.items():
            layer.inverse = self._joint if name in samples else None

    def _directions(self, layers: Sequence[PreconditionedLayer], gradients: Sequence[Tensor]) -> list[Direction]:
        if self._joint is None:
            return super()._directions(layers, gradients)
        given = {id(layer): gradient for layer, gradient in zip(layers, gradients, strict=True)}
        joined = [layer for layer in self._layers.values() if layer.inverse is not None]
        shapes = [samples.shape for samples in self._joint.samples]
        whole = [given.get(id(la), gradients[0].new_zeros(shape)) for la, shape in zip(joined, shapes, strict=True)]
        steps = {id(layer): step for layer, step in zip(joined, self._joint.joint(whole), strict=True)}
        return [DenseDirection(given[id(layer)], steps[id(layer)]) for layer in layers]
