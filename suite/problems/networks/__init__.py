"""The networks that a spec can name: one file and one line each."""

from typing import Annotated, get_args

from pydantic import Field

from suite.problems.networks.autoencoder import Autoencoder
from suite.problems.networks.base import Network
from suite.problems.networks.convnet import ConvNet
from suite.problems.networks.mlp import MLP

_Any = (
    Autoencoder
    | MLP
    | ConvNet
)  # fmt: skip

AnyNetwork = Annotated[_Any, Field(discriminator="kind")]
NETWORKS: dict[str, type[Network]] = {get_args(n.model_fields["kind"].annotation)[0]: n for n in get_args(_Any)}

__all__ = ["NETWORKS", "AnyNetwork", "Network"]
