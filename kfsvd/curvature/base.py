"""What every curvature approximation F̂ of a layer offers, whatever its form.

Conventions. A gradient V is (d_out, d_in) and vec stacks its columns, so (A⊗B) vec(V) = vec(B V Aᵀ): the first factor
of a product acts on a layer's inputs, the second on its outputs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from torch import Tensor

    from kfsvd.inverse.damped import DampedInverse
    from kfsvd.network.samples import LayerSamples
    from kfsvd.options.choices import DampingRule, Guard


class Curvature(ABC):
    """F̂, a symmetric (d_in·d_out)² matrix that is never formed but on demand.

    Its entries are in squared nats per squared unit of a parameter, as damping is.
    """

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """(d_out, d_in), the shape of the gradients that F̂ acts on."""

    @property
    @abstractmethod
    def rank(self) -> int | None:
        """The number of Kronecker products that F̂ is a sum of; None where it is no such sum."""

    @abstractmethod
    def dense(self) -> Tensor:
        """F̂ as one (d_in·d_out, d_in·d_out) matrix, for tests and tiny layers."""

    @abstractmethod
    def apply(self, gradient: Tensor) -> Tensor:
        """F̂ V, (d_out, d_in).

        Args:
            gradient: V (d_out, d_in).

        """

    @abstractmethod
    def norm(self) -> Tensor:
        """‖F̂‖_F, a float64 scalar."""

    @abstractmethod
    def fisher_inner(self, samples: LayerSamples) -> Tensor:
        """⟨F, F̂⟩ with the Fisher block of `samples`, a float64 scalar.

        Args:
            samples: of a layer of the same shape.

        """

    @abstractmethod
    def leading_eigenvalues(self, count: int, weights: Tensor | None = None) -> Tensor:
        """The `count` largest eigenvalues of F̂ (all if there are fewer), descending, (count,) float64.

        Args:
            count: how many, at least 1.
            weights: (count,), descending: the eigenvalues are found no more accurately than Σ_i w_i λ_i asks for.

        """

    @abstractmethod
    def inverse(
        self, damping: float, *, rule: DampingRule = "exact", guard: Guard = "floor", pi: float = 1.0
    ) -> DampedInverse:
        """A damped inverse, prepared once to be applied to many gradients; see `kfsvd.inverse.damped`.

        Args:
            damping: λ > 0, in squared nats per squared unit of a parameter.
            rule: how λ enters: "exact", "factored" or "factored_pi".
            guard: what is done where a sum of several products is not positive definite: "floor", "absolute", "raise".
            pi: the constant π of the rule "factored".

        Raises:
            ValueError: λ is not positive, a choice is unknown, or the form of F̂ has no such rule.
            IndefiniteError: the damped F̂ is not positive definite and the guard is "raise".

        """

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """All that F̂ consists of, for checkpoints."""

    @classmethod
    @abstractmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """F̂ again, of what `tensors` gave.

        Args:
            tensors: by name, as `tensors()` names them.

        """

    def solve(self, gradient: Tensor, damping: float, *, rule: DampingRule = "exact", guard: Guard = "floor") -> Tensor:
        """(F̂ + λI)⁻¹ V of V (d_out, d_in), λ = `damping`; see `kfsvd.inverse.damped` for the rules and the guard.

        Args:
            gradient: V (d_out, d_in).
            damping: λ > 0, in squared nats per squared unit of a parameter.
            rule: how λ enters: "exact", "factored" or "factored_pi", as far as the form of F̂ takes it.
            guard: what is done where F̂ + λI is not positive definite: "floor", "absolute" or "raise".

        Raises:
            ValueError: the gradient's shape does not fit, λ is not positive, or a choice is unknown.
            IndefiniteError: F̂ + λI is not positive definite and the guard is `raise`.

        """
        if gradient.shape != torch.Size(self.shape):
            raise ValueError(f"gradient must be (d_out, d_in) = {self.shape}; got {tuple(gradient.shape)}")
        return self.inverse(damping, rule=rule, guard=guard)(gradient)
