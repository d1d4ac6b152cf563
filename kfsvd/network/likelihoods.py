"""Predictive distributions: their negative log-likelihood, and samples of their labels.

Everything is per example and *summed* over outputs, never averaged over them: a loss averaged over d outputs scales
gradients by 1/d and the Fisher matrix by 1/d², and makes damping values incomparable between problems.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Generator, Tensor


class Likelihood(ABC):
    """p(y | f) for a network's outputs f, of shape (batch, …)."""

    @abstractmethod
    def negative_log_likelihood(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """−log p(targets | outputs) of every example, (batch,), in nats."""

    @abstractmethod
    def sample(self, outputs: Tensor, generator: Generator) -> Tensor:
        """One label per example, drawn from p(y | outputs); `generator` lives on the outputs' device."""

    @abstractmethod
    def mean(self, outputs: Tensor) -> Tensor:
        """E[y | outputs], of the outputs' shape; ∂(−log p(y|f))/∂f = E[y] − y for each of these families."""

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """∂(−log p(targets | outputs))/∂outputs = E[y] − y, of the outputs' shape."""
        return self.mean(outputs) - targets

    @abstractmethod
    def fisher_factors(self, outputs: Tensor) -> Tensor:
        """B (K, batch, …) with Σ_k B_k B_kᵀ the Fisher matrix of every example's outputs."""

    @abstractmethod
    def fisher_product(self, outputs: Tensor, tangents: Tensor) -> Tensor:
        """The Fisher matrix of every example's outputs times a tangent of the outputs' shape."""


class Bernoulli(Likelihood):
    """Independent Bernoulli outputs with logits f: Σ_j log(1 + exp f_j) − y_j f_j."""

    def negative_log_likelihood(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Binary cross-entropy with logits, summed over outputs; targets in [0, 1]."""
        losses = functional.binary_cross_entropy_with_logits(outputs, targets, reduction="none")
        return losses.flatten(1).sum(1)

    def sample(self, outputs: Tensor, generator: Generator) -> Tensor:
        """Zeros and ones."""
        return torch.bernoulli(outputs.sigmoid(), generator=generator)

    def mean(self, outputs: Tensor) -> Tensor:
        """σ(f)."""
        return outputs.sigmoid()

    def fisher_factors(self, outputs: Tensor) -> Tensor:
        """√(p_k (1 − p_k)) e_k."""
        p = outputs.sigmoid()
        return _unit_columns((p * (1 - p)).sqrt())

    def fisher_product(self, outputs: Tensor, tangents: Tensor) -> Tensor:
        """P (1 − p) v."""
        p = outputs.sigmoid()
        return p * (1 - p) * tangents


class Gaussian(Likelihood):
    """Independent unit-variance Gaussian outputs with means f: ½‖y − f‖², the constant ½ log 2π dropped."""

    def negative_log_likelihood(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Half the squared error, summed over outputs."""
        return (outputs - targets).square().flatten(1).sum(1) / 2

    def sample(self, outputs: Tensor, generator: Generator) -> Tensor:
        """The means plus standard normal noise."""
        noise = torch.empty_like(outputs).normal_(generator=generator)
        return outputs + noise

    def mean(self, outputs: Tensor) -> Tensor:
        """The outputs themselves."""
        return outputs

    def fisher_factors(self, outputs: Tensor) -> Tensor:
        """The unit vectors e_k."""
        return _unit_columns(torch.ones_like(outputs))

    def fisher_product(self, outputs: Tensor, tangents: Tensor) -> Tensor:
        """The tangent v itself."""
        return tangents


class Categorical(Likelihood):
    """One of K classes with logits f, (batch, K): logsumexp f − f_y."""

    def negative_log_likelihood(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy with logits; targets are class indices, or probabilities of the outputs' shape."""
        return functional.cross_entropy(outputs, targets, reduction="none")

    def sample(self, outputs: Tensor, generator: Generator) -> Tensor:
        """Class indices."""
        return torch.multinomial(outputs.softmax(1), 1, generator=generator).squeeze(1)

    def mean(self, outputs: Tensor) -> Tensor:
        """The classes' probabilities."""
        return outputs.softmax(1)

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """P − e_y, or p − q where the targets are probabilities q."""
        if targets.ndim == outputs.ndim:
            return self.mean(outputs) - targets
        return self.mean(outputs) - functional.one_hot(targets, outputs.shape[1])

    def fisher_factors(self, outputs: Tensor) -> Tensor:
        """√p_k (p − e_k): the scores of the K labels, each by its probability."""
        p = outputs.softmax(1)
        units = torch.eye(p.shape[1], dtype=p.dtype, device=p.device)
        return p.mT.sqrt().unsqueeze(2) * (p.unsqueeze(0) - units.unsqueeze(1))

    def fisher_product(self, outputs: Tensor, tangents: Tensor) -> Tensor:
        """P ∘ v − p ⟨p, v⟩."""
        p = outputs.softmax(1)
        return p * tangents - p * (p * tangents).sum(1, keepdim=True)


def _unit_columns(scales: Tensor) -> Tensor:
    """(K, batch, …) with s_k e_k of every example's K numbers s."""
    flat = scales.flatten(1)
    units = torch.eye(flat.shape[1], dtype=flat.dtype, device=flat.device)
    return (units.unsqueeze(1) * flat.unsqueeze(0)).reshape(-1, *scales.shape)


LIKELIHOODS: dict[str, Likelihood] = {
    "bernoulli": Bernoulli(),
    "gaussian": Gaussian(),
    "categorical": Categorical(),
}


def likelihood_named(name: str) -> Likelihood:
    """The likelihood of that name.

    Raises:
        ValueError: no likelihood has that name.

    """
    if name not in LIKELIHOODS:
        raise ValueError(f"likelihood must be one of {', '.join(LIKELIHOODS)}; got {name!r}")
    return LIKELIHOODS[name]


def negative_log_likelihood(likelihood: str, outputs: Tensor, targets: Tensor) -> Tensor:
    """−log p(targets | outputs) of every example, (batch,), in nats, summed over outputs; its mean is the loss.

    Bernoulli Σ_j log(1 + exp f_j) − y_j f_j; Gaussian ½ ‖y − f‖²; categorical log Σ_k exp f_k − f_y.

    Args:
        likelihood: "bernoulli", "gaussian" or "categorical".
        outputs: f, (batch, …): logits, means, or the logits of K classes, (batch, K).
        targets: y, of the outputs' shape and for Bernoulli in [0, 1]; for categorical class indices, (batch,), or the
            classes' probabilities, (batch, K).

    Raises:
        ValueError: no likelihood has that name.

    """
    return likelihood_named(likelihood).negative_log_likelihood(outputs, targets)
