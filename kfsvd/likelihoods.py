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


class Bernoulli(Likelihood):
    """Independent Bernoulli outputs with logits f: Σ_j log(1 + exp f_j) − y_j f_j."""

    def negative_log_likelihood(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Binary cross-entropy with logits, summed over outputs; targets in [0, 1]."""
        losses = functional.binary_cross_entropy_with_logits(outputs, targets, reduction="none")
        return losses.flatten(1).sum(1)

    def sample(self, outputs: Tensor, generator: Generator) -> Tensor:
        """Zeros and ones."""
        return torch.bernoulli(outputs.sigmoid(), generator=generator)


class Gaussian(Likelihood):
    """Independent unit-variance Gaussian outputs with means f: ½‖y − f‖², the constant ½ log 2π dropped."""

    def negative_log_likelihood(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Half the squared error, summed over outputs."""
        return (outputs - targets).square().flatten(1).sum(1) / 2

    def sample(self, outputs: Tensor, generator: Generator) -> Tensor:
        """The means plus standard normal noise."""
        noise = torch.empty_like(outputs).normal_(generator=generator)
        return outputs + noise


class Categorical(Likelihood):
    """One of K classes with logits f, (batch, K): logsumexp f − f_y."""

    def negative_log_likelihood(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy with logits; targets are class indices."""
        return functional.cross_entropy(outputs, targets, reduction="none")

    def sample(self, outputs: Tensor, generator: Generator) -> Tensor:
        """Class indices."""
        return torch.multinomial(outputs.softmax(1), 1, generator=generator).squeeze(1)


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
    """−log p(targets | outputs) of every example, (batch,), in nats, summed over outputs.

    Raises:
        ValueError: no likelihood has that name.

    """
    return likelihood_named(likelihood).negative_log_likelihood(outputs, targets)
