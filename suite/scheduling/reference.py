"""The reference workload: a fixed piece of work, timed before each cell, that shows a drifting host."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def reference_seconds(device: torch.device) -> float:
    """Median seconds over seven rounds of ten 256×256 float32 products, each with a tanh, on `device`."""
    import torch

    from suite.training.clock import edges

    edge = edges(device)
    matrix = torch.linspace(-1, 1, 256 * 256, device=device).reshape(256, 256) / 16
    rounds = []
    for _ in range(7):
        begun = edge()
        product = matrix
        for _ in range(10):
            product = (product @ matrix).tanh_()
        rounds.append(edge() - begun)
    return statistics.median(rounds)
