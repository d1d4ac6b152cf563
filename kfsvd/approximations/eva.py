"""Eva: F̂ = m_a m_aᵀ ⊗ m_g m_gᵀ of mean vectors (Zhang, Shi & Li 2023, arXiv 2308.02123); no packaged library has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kfsvd.approximations.base import Approximation

if TYPE_CHECKING:
    from kfsvd.curvature.base import Curvature
    from kfsvd.curvature.rank_one import RankOne
    from kfsvd.network.samples import LayerSamples
    from kfsvd.options.choices import DampingRule


@dataclass(frozen=True)
class Eva(Approximation):
    """m_a = E[mean_t a_t] (d_in,), m_g = E[Σ_t g_t] (d_out,): KFAC's factors with means in place of second moments.

    The mean of sampled gradients is zero but for noise: made for `fisher="empirical"`.
    """

    name = "eva"

    @property
    def products(self) -> None:
        """F̂ is no sum of Kronecker products."""

    @property
    def damping_rules(self) -> tuple[DampingRule, ...]:
        """λ is added to the whole."""
        return ("exact",)

    def fit(self, samples: LayerSamples) -> RankOne:
        """The weighted means; the weights' sum is the scale of m_g, as in KFAC."""
        from kfsvd.curvature.rank_one import RankOne

        w = samples.normalised_weights.to(samples.activations.dtype)
        a, g = samples.by_position
        return RankOne((w / w.sum()) @ a.mean(1), w @ g.sum(1))

    def average(self, past: Curvature, samples: LayerSamples, rho: float) -> RankOne:
        """Of ρ times the past vectors and (1 − ρ) times the new ones."""
        from kfsvd.curvature.rank_one import RankOne

        assert isinstance(past, RankOne)
        new = self.fit(samples)
        return RankOne(past.inner.lerp(new.inner, 1 - rho), past.outer.lerp(new.outer, 1 - rho))

    @property
    def curvature(self) -> type[RankOne]:
        """The form of its F̂."""
        from kfsvd.curvature.rank_one import RankOne

        return RankOne
