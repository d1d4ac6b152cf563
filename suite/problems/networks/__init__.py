"""The networks that a spec can name: one file and one line each."""

from typing import Annotated, get_args

from pydantic import Field

from suite import plugins
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


def network_kind(name: str) -> type[Network]:
    """The network of that kind in `NETWORKS`, of an installed entry point, or at an import path, imported here.

    Raises:
        PluginError: it cannot be imported, or is no `Network`.

    """
    if name in NETWORKS:
        return NETWORKS[name]
    found = plugins.resolved(plugins.NETWORKS, name)
    if not (isinstance(found, type) and issubclass(found, Network)):
        raise plugins.PluginError(f"{name!r} is no suite.problems.networks.Network")
    return found


__all__ = ["NETWORKS", "AnyNetwork", "Network", "network_kind"]
