"""What a network of a spec is: its parameters, and a lazy way to build and initialise it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from suite.model import Model

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

Activation = Literal["relu", "tanh", "sigmoid", "gelu"]


class Network(Model):
    """A network architecture; `kind` is its name in specs."""

    kind: str

    def input_shape(self, image: tuple[int, ...]) -> tuple[int, ...]:
        """How the network sees an example of shape `image`: flat, unless it is told otherwise."""
        return (math.prod(image),)

    def build(
        self, inputs: tuple[int, ...], outputs: int, output_mean: Tensor, likelihood: str, generator: Generator
    ) -> nn.Module:
        """The network, initialised from `generator` alone.

        Args:
            inputs: the shape of one example.
            outputs: how many numbers the network puts out.
            output_mean: (outputs,), the mean of the training targets.
            likelihood: what the outputs mean: logits or means.
            generator: source of the initial weights.

        """
        raise TypeError(f"{type(self).__name__} is abstract")


def activation_module(name: Activation) -> nn.Module:
    """The activation of that name."""
    from torch import nn

    return {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "gelu": nn.GELU}[name]()


def initialise(network: nn.Module, bias: float, generator: Generator) -> None:
    """Xavier-uniform weights (Glorot & Bengio 2010) and constant biases, in every linear and convolutional layer."""
    from torch import nn

    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(module.weight, generator=generator)
            if module.bias is not None:
                nn.init.constant_(module.bias, bias)


def set_output_bias(layer: nn.Linear, mean: Tensor, likelihood: str) -> None:
    """Let the untrained network predict the mean target.

    logit(mean) for Bernoulli, the mean itself for Gaussian, log frequencies for categorical; means are kept 1e-3 away
    from 0 and 1, so that pixels that are always black start at a finite logit.
    """
    import torch

    with torch.no_grad():
        if likelihood == "gaussian":
            layer.bias.copy_(mean)
        elif likelihood == "bernoulli":
            layer.bias.copy_(mean.clamp(1e-3, 1 - 1e-3).logit())
        else:
            layer.bias.copy_(mean.clamp(min=1e-3).log())
