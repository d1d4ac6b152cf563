"""The exact damped natural gradient of sampled Fisher matrices, by Woodbury's identity.

With one row √w_n vec(G_n)ᵀ for each sample in J, F = JᵀJ and

    (F + λI)⁻¹ V = (V − Jᵀ (λI + JJᵀ)⁻¹ J V)/λ,     JJᵀ = √w √wᵀ ∘ Σ_l ⟨G_n^l, G_n'^l⟩

so that an m×m system is solved, whatever the number of weights. Over several layers F is the whole network's Fisher
matrix, off-diagonal blocks included: its samples must be of the same examples in the same order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from kfsvd.curvature.base import Curvature
from kfsvd.inverse.damped import DampedInverse
from kfsvd.inverse.damping import check_choices
from kfsvd.linalg.cholesky import cholesky
from kfsvd.network.samples import LayerSamples

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

    from torch import Tensor

    from kfsvd.options.choices import DampingRule, Guard


@dataclass(frozen=True, eq=False)
class WoodburyInverse(DampedInverse):
    """V ↦ (F + λI)⁻¹ V of the sampled Fisher matrix F over one or several layers.

    Args:
        samples: one entry for each layer, of the same examples in the same order.
        damping: λ.
        roots: √w (m,), of the examples' weights.
        factor: the Cholesky factor of λI + JJᵀ, (m, m).

    """

    samples: tuple[LayerSamples, ...]
    damping: float
    roots: Tensor
    factor: Tensor

    @classmethod
    def of(cls, samples: Sequence[LayerSamples], damping: float) -> WoodburyInverse:
        """Prepare it.

        Raises:
            ValueError: the layers' samples do not correspond.

        """
        check_corresponding(samples)
        roots = samples[0].normalised_weights.sqrt()
        gram = network_gram(samples) * torch.outer(roots, roots)
        gram.diagonal().add_(damping)
        return cls(tuple(samples), damping, roots, cholesky(gram))

    def __call__(self, gradient: Tensor) -> Tensor:
        """Of one layer's gradient V (d_out, d_in)."""
        return self.joint([gradient])[0]

    def joint(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """Of all layers' gradients."""
        projections = [s.project(v).double() for s, v in zip(self.samples, gradients, strict=True)]
        right = self.roots * torch.stack(projections).sum(0)
        coefficients = self.roots * torch.cholesky_solve(right.unsqueeze(1), self.factor).squeeze(1)
        return [
            (v - s.combine(coefficients.to(v.dtype))) / self.damping
            for s, v in zip(self.samples, gradients, strict=True)
        ]


@dataclass(frozen=True, eq=False)
class SampledFisher(Curvature):
    """F̂ = F: the Fisher block of the samples themselves, kept as what it is.

    Args:
        samples: the layer's activations and sampled gradients.

    """

    samples: LayerSamples

    @property
    def shape(self) -> tuple[int, int]:
        """(d_out, d_in)."""
        return self.samples.shape

    @property
    def rank(self) -> None:
        """It is no sum of a few Kronecker products."""

    def dense(self) -> Tensor:
        """F itself."""
        return self.samples.dense()

    def apply(self, gradient: Tensor) -> Tensor:
        """Σ w_n ⟨G_n, V⟩ G_n."""
        w = self.samples.normalised_weights.to(gradient.dtype)
        return self.samples.combine(w * self.samples.project(gradient))

    def norm(self) -> Tensor:
        """√(wᵀ ⟨G_n, G_n'⟩² w), or from F itself where that is smaller than the Gram matrix."""
        w = self.samples.normalised_weights
        if self.shape[0] * self.shape[1] <= len(w):
            return self.samples.double().dense().square().sum().sqrt()
        return (w @ self.samples.gradient_gram().square() @ w).sqrt()

    def fisher_inner(self, samples: LayerSamples) -> Tensor:
        """Σ_nn' w_n w'_n' ⟨G_n, G'_n'⟩²."""
        products = self.samples.gradient_gram(samples).square()
        return self.samples.normalised_weights @ products @ samples.normalised_weights

    def leading_eigenvalues(self, count: int, weights: Tensor | None = None) -> Tensor:
        """Those of the weighted Gram matrix, and zeros."""
        values = fisher_spectrum([self.samples])
        return values[: min(count, self.shape[0] * self.shape[1])]

    def inverse(
        self, damping: float, *, rule: DampingRule = "exact", guard: Guard = "floor", pi: float = 1.0
    ) -> DampedInverse:
        """(F + λI)⁻¹ by Woodbury's identity.

        Raises:
            ValueError: λ is not positive, or the rule is one of factors.

        """
        check_choices(damping, rule, guard)
        if rule != "exact":
            raise ValueError(f"the sampled Fisher matrix takes the damping rule 'exact' alone; got {rule!r}")
        return WoodburyInverse.of([self.samples], damping)

    def tensors(self) -> dict[str, Tensor]:
        """Activations, gradients and weights."""
        s = self.samples
        return {"activations": s.activations, "gradients": s.gradients, "weights": s.normalised_weights}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """Of what `tensors` gave."""
        return cls(LayerSamples(tensors["activations"], tensors["gradients"], tensors["weights"]))


def network_gram(samples: Sequence[LayerSamples]) -> Tensor:
    """Σ_l ⟨G_n^l, G_n'^l⟩, (m, m) in float64."""
    return torch.stack([layer.gradient_gram() for layer in samples]).sum(0)


def fisher_spectrum(samples: Sequence[LayerSamples]) -> Tensor:
    """The m largest eigenvalues of F, descending: those of √w √wᵀ ∘ Σ_l ⟨G_n^l, G_n'^l⟩."""
    roots = samples[0].normalised_weights.sqrt()
    spectrum: Tensor = torch.linalg.eigvalsh(network_gram(samples) * torch.outer(roots, roots))
    return spectrum.flip(0).clamp(min=0)


def check_corresponding(samples: Sequence[LayerSamples]) -> None:
    """Raise a ValueError unless all layers' samples can be of the same examples."""
    if not samples:
        raise ValueError("a network's Fisher matrix needs the samples of at least one layer")
    first = samples[0].normalised_weights
    if any(len(s) != len(first) or not torch.equal(s.normalised_weights, first) for s in samples):
        raise ValueError("the samples of all layers must be of the same examples with the same weights")


def natural_gradient(
    samples: Mapping[str, LayerSamples], gradients: Mapping[str, Tensor], damping: float
) -> dict[str, Tensor]:
    """(F + λI)⁻¹ ∇h over the layers given, F their joint Fisher matrix with its off-diagonal blocks.

    By Woodbury's identity: an m×m system for m samples, whatever the number of weights.

    Args:
        samples: each layer's samples, of the same examples in the same order (as `kfsvd.capture` returns them).
        gradients: each layer's ∇h, (d_out, d_in), in the same dtype.
        damping: λ > 0, in squared nats per squared unit of a parameter.

    Returns:
        Each layer's part, (d_out, d_in).

    Raises:
        ValueError: the layers' samples or names do not correspond, or λ is not positive.

    """
    check_choices(damping, "exact", "floor")
    if samples.keys() != gradients.keys():
        raise ValueError(f"samples and gradients must be of the same layers; got {[*samples]} and {[*gradients]}")
    inverse = WoodburyInverse.of([samples[name] for name in samples], damping)
    return dict(zip(samples, inverse.joint([gradients[name] for name in samples]), strict=True))
