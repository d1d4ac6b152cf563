"""The Fisher block itself, kept as its samples: the oracle that approximations are held against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kfsvd.approximations.base import Approximation
from kfsvd.curvature.sampled import SampledFisher

if TYPE_CHECKING:
    from kfsvd.inverse.damping import DampingRule
    from kfsvd.network.samples import LayerSamples


@dataclass(frozen=True)
class Exact(Approximation):
    """F̂ = F; its damped inverse is Woodbury's."""

    name = "exact"
    curvature = SampledFisher
    averagings = ("samples",)

    @property
    def damping_rules(self) -> tuple[DampingRule, ...]:
        """λ is added to the Fisher matrix itself."""
        return ("exact",)

    def fit(self, samples: LayerSamples) -> SampledFisher:
        """The samples as they are."""
        return SampledFisher(samples)
