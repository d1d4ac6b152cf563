"""What a method of approximation is: samples in, curvature out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from kfsvd.options.declare import check_fields

if TYPE_CHECKING:
    from kfsvd.curvature.base import Curvature
    from kfsvd.network.samples import LayerSamples
    from kfsvd.options.choices import Averaging, DampingRule


@dataclass(frozen=True)
class Approximation(ABC):
    """A method that fits F̂ to a layer's Fisher block; its options are its fields.

    A subclass is a frozen dataclass with a `name` and a `fit`. Its module loads torch only when it fits, so that a
    specification can name it without torch. Registered in `kfsvd.APPROXIMATIONS`, it is known to
    `kfsvd.fit`; without that, it can be handed to `kfsvd.NaturalGradient` as it is.
    """

    name: ClassVar[str]
    """What `kfsvd.fit` and a specification call it."""
    averagings: ClassVar[tuple[Averaging, ...]] = ("factors", "samples")
    """The averagings that it is made for; see `kfsvd.averaging`."""

    def __post_init__(self) -> None:
        """Refuse a field that is out of range."""
        check_fields(self)

    @property
    def curvature(self) -> type[Curvature]:
        """The form of its F̂."""
        from kfsvd.curvature.kronecker_sum import KroneckerSum

        return KroneckerSum

    @property
    def products(self) -> int | None:
        """The number of Kronecker products of its F̂; None if F̂ has another form."""
        return 1

    @property
    def damping_rules(self) -> tuple[DampingRule, ...]:
        """The damping rules that its F̂ takes, the default first."""
        return ("factored_pi", "factored", "exact")

    @property
    def inverses(self) -> tuple[str, ...]:
        """The forms of inverse that its F̂ takes: "low_rank" where it takes the factored rules."""
        return ("dense", "low_rank") if "factored_pi" in self.damping_rules else ("dense",)

    @abstractmethod
    def fit(self, samples: LayerSamples) -> Curvature:
        """F̂ of the samples' Fisher block.

        Args:
            samples: the layer's activations and sampled gradients, with their weights.

        """

    def average(self, past: Curvature, samples: LayerSamples, rho: float) -> Curvature:
        """ρ F̂_past + (1 − ρ) F̂ of new samples, factor by factor; a method of another form says how by itself.

        Args:
            past: F̂ so far, of the form `curvature`.
            samples: the new curvature batch.
            rho: ρ, the weight of the past in [0, 1).

        Raises:
            TypeError: its F̂ is no sum of Kronecker products, and it does not say how that is averaged.

        """
        from kfsvd.curvature.kronecker_sum import KroneckerSum

        new = self.fit(samples)
        if isinstance(past, KroneckerSum) and isinstance(new, KroneckerSum):
            return past.average(new, rho)
        raise TypeError(f"{type(self).__name__} must define how its {type(new).__name__} is averaged")

    def stream(self, past: Curvature, samples: LayerSamples, rho: float) -> Curvature:
        """One warm power step folded into the average, for methods made of singular pairs.

        Args:
            past: F̂ so far.
            samples: the new curvature batch.
            rho: ρ, the weight of the past in [0, 1).

        Raises:
            ValueError: the method is not made of singular pairs.

        """
        raise ValueError(f"averaging='stream' needs a method made of singular pairs, which {self.name} is not")
