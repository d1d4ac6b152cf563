"""The methods of compression that a spec can name; their names and options are those that the library declares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, cast

from pydantic import Field, create_model

from kfsvd.approximations import sums
from kfsvd.compression.registry import LOW_RANKS, PRUNINGS
from kfsvd.options.choices import Structure
from kfsvd.options.declare import declared
from suite.methods.declared import field_of
from suite.model import Model

if TYPE_CHECKING:
    from torch import nn

    from kfsvd.compression import Masks
    from kfsvd.compression.pruning import Sampler


class Compressor(Model):
    """Options of one method of compression."""

    method: str

    def compress(self, network: nn.Module, sample: Sampler, ratio: float) -> Masks | None:
        """Make `network` smaller in place; what is to be held at zero, where weights were taken out.

        Args:
            network: a trained one.
            sample: the samples of its layers as it stands.
            ratio: the share of the weights that is left.

        """
        raise TypeError(f"{type(self).__name__} is abstract")

    def options(self) -> dict[str, Any]:
        """Those of the library's function."""
        return self.model_dump()

    def __reduce__(self) -> tuple[Any, ...]:
        """By the name of its class, which another process makes anew."""
        return _remade, (self.model_dump(),)


class Pruning(Compressor):
    """Options of a method of pruning."""

    structure: Structure = Field(default="element", description="what goes as one")
    shots: int = Field(default=1, ge=1, description="in how many steps, each with costs worked out anew")
    exclude: list[Literal["first", "last"]] = Field(
        default_factory=list, description="layers that stay whole; ratios are of the others' weights"
    )

    def compress(self, network: nn.Module, sample: Sampler, ratio: float) -> Masks | None:
        """`kfsvd.compression.prune`."""
        from kfsvd.compression import prune
        from kfsvd.network.layers import supported_layers

        names = list(supported_layers(network))
        places = {"first": names[:1], "last": names[-1:]}  # of a network without layers, none: `prune` says so
        whole = {name for place in self.exclude for name in places[place]}
        return prune(network, sample, ratio=ratio, **{**self.options(), "exclude": whole})


class LowRank(Compressor):
    """Options of a method of low rank."""

    def compress(self, network: nn.Module, sample: Sampler, ratio: float) -> Masks | None:
        """`kfsvd.compression.low_rank`."""
        from kfsvd.compression import low_rank

        low_rank(network, sample, ratio=ratio, **self.options())
        return None


def _compressor(name: str) -> type[Compressor]:
    """The options of a method of compression, as a specification gives them."""
    base, entry = (Pruning, PRUNINGS.entries[name]) if name in PRUNINGS else (LowRank, LOW_RANKS.entries[name])
    fields: dict[str, Any] = {"method": (Literal[name], ...)}
    for own in declared(entry.options).values():
        fields[own.name] = field_of(own, sums(own.option.products) if own.option.products else None)
    made = create_model(f"Compressor_{name}", __base__=base, __module__=__name__, __doc__=entry.says, **fields)
    return cast("type[Compressor]", made)


COMPRESSORS = {name: _compressor(name) for name in (*PRUNINGS, *LOW_RANKS)}
"""Every method of compression by name."""

if TYPE_CHECKING:
    AnyCompressor = Compressor
else:  # made at run time, of what is registered
    AnyCompressor = Annotated[Union[tuple(COMPRESSORS.values())], Field(discriminator="method")]  # noqa: UP007


def _remade(values: dict[str, Any]) -> Compressor:
    return COMPRESSORS[values["method"]].model_validate(values)
