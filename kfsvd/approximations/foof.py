"""FOOF: gradient descent on neurons, F̂ = E[a aᵀ] ⊗ I (Benzing 2022, arXiv 2201.12250); no library has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kfsvd.approximations.base import Approximation

if TYPE_CHECKING:
    from kfsvd.curvature.inputs_only import InputKronecker
    from kfsvd.network.samples import LayerSamples
    from kfsvd.options.choices import DampingRule


@dataclass(frozen=True)
class FOOF(Approximation):
    """A⊗I with KFAC's first factor A = E[Σ_t a_t a_tᵀ], so that ΔW = ∇W (A + λI)⁻¹.

    The gradients play no part: λ is in squared units of an activation, not in those of F.
    """

    name = "foof"

    @property
    def damping_rules(self) -> tuple[DampingRule, ...]:
        """λ is added to A."""
        return ("exact",)

    def fit(self, samples: LayerSamples) -> InputKronecker:
        """The inputs' second moment, a weighted mean."""
        from kfsvd.curvature.inputs_only import InputKronecker

        w = samples.normalised_weights
        return InputKronecker.of(samples.input_moment(w / w.sum()), samples.shape[0])

    @property
    def curvature(self) -> type[InputKronecker]:
        """The form of its F̂."""
        from kfsvd.curvature.inputs_only import InputKronecker

        return InputKronecker
