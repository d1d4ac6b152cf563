"""A small training loop that the promises of the optimizers are held against."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import torch
from torch import nn

from kfsvd import NaturalGradient, negative_log_likelihood
from kfsvd.optimizers import MATRIX_OPTIMIZERS, OPTIMIZERS

INPUTS = torch.rand(24, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def network(dtype: torch.dtype = torch.float64, *, norm: bool = False) -> nn.Sequential:
    """6-5-6 with tanh; with `norm`, a LayerNorm between that only the fallback updates."""
    torch.manual_seed(1)
    hidden = [nn.LayerNorm(5)] if norm else []
    return nn.Sequential(nn.Linear(6, 5), *hidden, nn.Tanh(), nn.Linear(5, 6)).to(dtype)


EVERY: dict[str, type[Any]] = {**OPTIMIZERS, **MATRIX_OPTIMIZERS}
"""All optimizers of the library, by name."""


def make(name: str, model: nn.Module, **options: Any) -> Any:
    """The optimizer of that name; its warning about the fallback is tested elsewhere.

    Those made of gradients alone are given what they take of the options: they have no curvature to refresh.
    """
    if name in MATRIX_OPTIMIZERS:
        taken = inspect.signature(MATRIX_OPTIMIZERS[name]).parameters
        options = {option: value for option, value in options.items() if option in taken}
        if options.get("step_rule") in ("kl_clip", "quadratic_model"):
            del options["step_rule"]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*not (by natural gradient|as matrices)")
        made = EVERY[name](model, "bernoulli", **options)
    if isinstance(made, NaturalGradient):
        made.keep_samples = True
    return made


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


AVERAGINGS = [
    (name, averaging)
    for name, kind in OPTIMIZERS.items()
    for averaging in kind(nn.Linear(2, 2), "gaussian").approximation.averagings
]
"""Every optimizer with every averaging that it takes."""
