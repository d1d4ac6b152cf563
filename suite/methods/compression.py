"""The methods of compression that a spec can name: one line each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from suite.model import Model

if TYPE_CHECKING:
    from torch import nn

    from kfsvd.compression import Masks
    from kfsvd.compression.pruning import Sampler

Structure = Literal["element", "row", "column"]
SumOfTwo = Literal["kfac", "kpsvd", "deflation", "lanczos", "kfac_corrected", "tkfac", "foof", "tnt"]
"""Approximations whose F̂ is a sum of at most two Kronecker products."""
Product = Literal["kfac", "kpsvd", "tkfac", "foof", "tnt"]
"""Approximations whose F̂ is one."""

_Damping = Annotated[float, Field(gt=0, description="λ in units of the mean eigenvalue of F̂")]


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


class _Pruning(Compressor):
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


class Magnitude(_Pruning):
    """The smallest weights go, by one threshold over all layers; the baseline of pruning."""

    method: Literal["magnitude"]


class Surgeon(_Pruning):
    """The LLM Surgeon (van der Ouderaa et al. 2023): the cheapest weights by F̂ go, the others make up for them."""

    method: Literal["surgeon"]
    approximation: SumOfTwo = Field(default="kpsvd", description="F̂")
    damping: _Damping = 1e-4
    guard: Literal["floor", "absolute", "raise"] = Field(
        default="floor", description="what is done where a sum of two products is not positive definite"
    )


class _LowRank(Compressor):
    def compress(self, network: nn.Module, sample: Sampler, ratio: float) -> Masks | None:
        """`kfsvd.compression.low_rank`."""
        from kfsvd.compression import low_rank

        low_rank(network, sample, ratio=ratio, **self.options())
        return None


class SVD(_LowRank):
    """The truncated singular value decomposition of each weight; the baseline of low rank."""

    method: Literal["svd"]


class FWSVD(_LowRank):
    """FWSVD (Hsu et al. 2022): rows count by the diagonal of the Fisher matrix."""

    method: Literal["fwsvd"]
    damping: _Damping = 1e-4


class GFWSVD(_LowRank):
    """Generalized Fisher-weighted SVD (Chekalina et al. 2025): the error is weighed by F̂ = X⊗Y."""

    method: Literal["gfwsvd"]
    approximation: Product = Field(default="kpsvd", description="F̂")
    damping: _Damping = 1e-4


AnyCompressor = Annotated[Magnitude | Surgeon | SVD | FWSVD | GFWSVD, Field(discriminator="method")]
