"""Adam for the parameters that are not preconditioned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.optim.adam import adam

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from torch import Tensor


def adam_step(group: dict[str, Any], state: MutableMapping[Tensor, Any], finite: Tensor | None = None) -> None:
    """One step of Adam (Kingma & Ba 2015; β = .9, .999) with decoupled weight decay on a parameter group.

    With `finite`, a scalar, gradients count as zero where that is false.
    """
    parameters = [p for p in group["params"] if p.grad is not None]
    states = [state[p] for p in parameters]
    for parameter, own in zip(parameters, states, strict=True):
        if not own:
            own["step"] = torch.zeros(())
            own["exp_avg"] = torch.zeros_like(parameter)
            own["exp_avg_sq"] = torch.zeros_like(parameter)
    adam(
        parameters,
        [p.grad if finite is None else torch.where(finite, p.grad, 0) for p in parameters],
        [s["exp_avg"] for s in states],
        [s["exp_avg_sq"] for s in states],
        [],
        [s["step"] for s in states],
        amsgrad=False,
        beta1=0.9,
        beta2=0.999,
        lr=group["lr"],
        weight_decay=group["weight_decay"],
        eps=1e-8,
        maximize=False,
        decoupled_weight_decay=True,
    )
