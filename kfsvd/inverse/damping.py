"""How λ enters a Kronecker sum: the rules, their shares for the two sides, and the guard."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import torch

from kfsvd.linalg.cholesky import IndefiniteError, add_diagonal
from kfsvd.options.choices import DampingRule, Guard

if TYPE_CHECKING:
    from torch import Tensor


FLOOR = 0.1
"""The least denominator 1 + t_i s_j under the guard `floor`, relative to the damped first term."""


def check_choices(damping: float, rule: str, guard: str) -> None:
    """Raise a ValueError where λ is not positive and finite, or the rule or guard is unknown."""
    if not 0 < damping < float("inf"):
        raise ValueError(f"damping must be positive and finite; got {damping}")
    if rule not in get_args(DampingRule):
        raise ValueError(f"damping_rule must be one of {', '.join(get_args(DampingRule))}; got {rule!r}")
    if guard not in get_args(Guard):
        raise ValueError(f"guard must be one of {', '.join(get_args(Guard))}; got {guard!r}")


def guarded(denominators: Tensor, guard: Guard) -> Tensor:
    """The denominators 1 + t_i s_j, positive.

    Raises:
        IndefiniteError: one is not, and the guard is `raise`.

    """
    if guard == "floor":
        return denominators.clamp(min=FLOOR)
    if guard == "absolute":
        return 1 + (denominators - 1).abs()
    if not bool((denominators > 0).all()):
        least = float(denominators.min())
        raise IndefiniteError(f"the rank-2 sum is not positive definite: least 1 + ts = {least:.3g}")
    return denominators


def damped_factors(a: Tensor, b: Tensor, damping: float, pi: float | None) -> tuple[Tensor, Tensor]:
    """A + π√λ I and B + √λ/π I."""
    share_a, share_b = shares(a, b, damping, pi)
    return add_diagonal(a, share_a), add_diagonal(b, share_b)


def shares(a: Tensor, b: Tensor, damping: float, pi: float | None) -> tuple[Tensor, Tensor]:
    """π√λ and √λ/π, scalars; without a given π the balancing one, or 1 where a trace vanishes."""
    if pi is not None:
        balance = torch.as_tensor(pi, dtype=a.dtype, device=a.device)
    else:
        mean_a, mean_b = a.diagonal().mean(), b.diagonal().mean()
        positive = (mean_a > 0) & (mean_b > 0)
        balance = torch.where(positive, (mean_a / mean_b).sqrt(), torch.ones_like(mean_a))
    return balance * damping**0.5, damping**0.5 / balance
