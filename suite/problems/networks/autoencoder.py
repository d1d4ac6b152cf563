"""The deep autoencoders of Hinton & Salakhutdinov 2006, the standard problem of second-order optimization."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from suite.problems.networks.base import Network, Widths, activation_module

if TYPE_CHECKING:
    from torch import nn


class Autoencoder(Network):
    """A symmetric fully connected autoencoder: the decoder mirrors the encoder."""

    reconstructs: ClassVar[bool] = True

    kind: Literal["autoencoder"]
    encoder: Widths = Field(min_length=1, description="widths after each layer of the encoder; the last is the code")
    code: Literal["linear", "activated"] = Field(default="linear", description="whether the code layer has it too")

    def layers(self, inputs: tuple[int, ...], outputs: int) -> dict[str, nn.Module]:
        """`linear1`, `activation1`, `linear2`, …; the code layer has no activation where it is linear."""
        from torch import nn

        (pixels,) = inputs
        widths = [pixels, *self.encoder, *self.encoder[-2::-1], outputs]
        bare = {len(widths) - 1} | ({len(self.encoder)} if self.code == "linear" else set())
        layers: dict[str, nn.Module] = {}
        for index, (before, after) in enumerate(itertools.pairwise(widths), start=1):
            layers[f"linear{index}"] = nn.Linear(before, after)
            if index not in bare:
                layers[f"activation{index}"] = activation_module(self.activation)
        return layers
