"""A small training loop that the promises of the optimizers are held against."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn

from kfsvd import NaturalGradient, negative_log_likelihood
from kfsvd.approximations import approximation
from kfsvd.optimizers import OPTIMIZERS

INPUTS = torch.rand(24, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def network(dtype: torch.dtype = torch.float64, *, norm: bool = False) -> nn.Sequential:
    """6-5-6 with tanh; with `norm`, a LayerNorm between that only the fallback updates."""
    torch.manual_seed(1)
    hidden = [nn.LayerNorm(5)] if norm else []
    return nn.Sequential(nn.Linear(6, 5), *hidden, nn.Tanh(), nn.Linear(5, 6)).to(dtype)


def make(name: str, model: nn.Module, **options: Any) -> NaturalGradient:
    """The optimizer of that name; its warning about the fallback is tested elsewhere."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*not by natural gradient")
        return OPTIMIZERS[name](model, "bernoulli", **options)


def loss_of(model: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    return negative_log_likelihood("bernoulli", model(inputs), inputs).mean()


def train(
    model: nn.Module, optimizer: torch.optim.Optimizer, steps: int, *, start: int = 0, inputs: torch.Tensor = INPUTS
) -> None:
    """`steps` steps on batches of 12 that depend on the step's number alone."""
    for step in range(start, start + steps):
        generator = torch.Generator().manual_seed(step)
        batch = inputs[torch.randperm(len(inputs), generator=generator)[:12]]
        optimizer.zero_grad()
        loss_of(model, batch).backward()
        optimizer.step()


def equal(model: nn.Module, other: nn.Module) -> bool:
    """Whether all weights are the same to the last bit."""
    return all(torch.equal(p, q) for p, q in zip(model.parameters(), other.parameters(), strict=True))


AVERAGINGS = [(name, averaging) for name in OPTIMIZERS for averaging in approximation(name).averagings]
"""Every optimizer with every averaging that it takes."""
