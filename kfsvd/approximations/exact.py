"""The Fisher block itself, kept as its samples: the oracle that approximations are held against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kfsvd.approximations.base import Approximation

if TYPE_CHECKING:
    from kfsvd.curvature.sampled import SampledFisher
    from kfsvd.network.samples import LayerSamples
    from kfsvd.options.choices import DampingRule


@dataclass(frozen=True)
class Exact(Approximation):
    """F̂ = F; its damped inverse is Woodbury's."""

    name = "exact"
    averagings = ("samples",)

    @property
    def products(self) -> None:
        """F̂ is no sum of Kronecker products."""

    @property
    def damping_rules(self) -> tuple[DampingRule, ...]:
        """λ is added to the Fisher matrix itself."""
        return ("exact",)

    def fit(self, samples: LayerSamples) -> SampledFisher:
        """The samples as they are."""
        from kfsvd.curvature.sampled import SampledFisher

        return SampledFisher(samples)

    @property
    def curvature(self) -> type[SampledFisher]:
        """The form of its F̂."""
        from kfsvd.curvature.sampled import SampledFisher

        return SampledFisher
