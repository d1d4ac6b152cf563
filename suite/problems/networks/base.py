"""What a network of a spec is: its parameters, and a lazy way to build and initialise it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from suite.model import Model

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from torch import Generator, Tensor, nn

Activation = Literal["relu", "tanh", "sigmoid", "gelu"]
Widths = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False)]  # a file's list becomes a tuple

SPARSE_CONNECTIONS = 15  # non-zero incoming weights of a unit (Martens 2010)
CLOSEST_TO_CERTAIN = 1e-3  # means are kept this far from 0 and 1, so that pixels that are always black have a logit


class Network(Model, ABC):
    """A feed-forward network; `kind` is its name in specs."""

    reconstructs: ClassVar[bool]
    """Whether it is to put out its own inputs (an autoencoder) rather than a label."""

    kind: str
    activation: Activation = Field(default="relu", description="of the hidden layers")
    init: Literal["xavier", "sparse"] = Field(
        default="xavier",
        description="weights: uniform by Glorot & Bengio, or 15 standard normal ones a unit (Martens 2010)",
    )
    bias: float = Field(default=0.01, description="initial value of the biases")
    output_bias: Literal["mean", "constant"] = Field(
        default="mean", description="the last bias: so that the mean target is predicted, or like the others"
    )

    def input_shape(self, image: tuple[int, ...]) -> tuple[int, ...]:
        """How the network sees an example of shape `image`: flat, unless it says otherwise."""
        return (math.prod(image),)

    @abstractmethod
    def layers(self, inputs: tuple[int, ...], outputs: int) -> dict[str, nn.Module]:
        """Its layers by name, in order; the last is linear.

        Args:
            inputs: the shape of one example.
            outputs: how many numbers the network puts out.

        Raises:
            SuiteError: it does not fit the inputs.

        """

    def build(
        self, inputs: tuple[int, ...], outputs: int, output_mean: Tensor, likelihood: str, generator: Generator
    ) -> nn.Sequential:
        """The network, its initial weights drawn from `generator` alone; the global random state is left as it was.

        Args:
            inputs: the shape of one example.
            outputs: how many numbers the network puts out.
            output_mean: (outputs,), the mean of the training targets; class frequencies where they are labels.
            likelihood: what the outputs mean: "bernoulli" or "categorical" logits, "gaussian" means.
            generator: source of the initial weights.

        Raises:
            SuiteError: it does not fit the inputs.

        """
        from collections import OrderedDict

        import torch
        from torch import nn

        with torch.random.fork_rng(devices=[]):  # torch's own initialisation would move the global stream
            network = nn.Sequential(OrderedDict(self.layers(inputs, outputs)))
        initialise(network, self.init, self.bias, generator)
        if self.output_bias == "mean":
            last = network[-1]
            assert isinstance(last, nn.Linear), "the last layer is linear"
            with torch.no_grad():
                last.bias.copy_(natural_parameter(output_mean, likelihood))
        return network


def activation_module(name: Activation) -> nn.Module:
    """The activation of that name."""
    from torch import nn

    modules: dict[Activation, Callable[[], Any]] = {
        "relu": nn.ReLU,
        "tanh": nn.Tanh,
        "sigmoid": nn.Sigmoid,
        "gelu": nn.GELU,
    }
    module: nn.Module = modules[name]()
    return module


def initialise(network: nn.Module, init: str, bias: float, generator: Generator) -> None:
    """Set the weights of every linear and convolutional layer by `init`, and its biases to `bias`."""
    from torch import nn

    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            if init == "sparse":
                _sparse(module.weight, generator)
            else:
                nn.init.xavier_uniform_(module.weight, generator=generator)
            if module.bias is not None:
                nn.init.constant_(module.bias, bias)


def natural_parameter(mean: Tensor, likelihood: str) -> Tensor:
    """The outputs that predict `mean`: logits for Bernoulli, log frequencies for categorical, itself for Gaussian."""
    if likelihood == "gaussian":
        return mean
    if likelihood == "bernoulli":
        return mean.clamp(CLOSEST_TO_CERTAIN, 1 - CLOSEST_TO_CERTAIN).logit()
    return mean.clamp(min=CLOSEST_TO_CERTAIN).log()


def _sparse(weight: Tensor, generator: Generator) -> None:
    import torch

    rows = weight.detach().flatten(1)  # a view, one unit a row
    connections = min(SPARSE_CONNECTIONS, rows.shape[1])
    chosen = torch.rand(rows.shape, generator=generator).topk(connections, dim=1).indices
    rows.zero_().scatter_(1, chosen, torch.randn(chosen.shape, generator=generator))
