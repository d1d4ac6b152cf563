"""Iterations in their steady state: running averages are filled and low-rank inverses warm before anything is timed."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch

from kfsvd import NaturalGradient
from kfsvd.optimizers import OPTIMIZERS
from tests.benchmarks.networks import seconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor, nn

REFRESHES = 20
"""Before anything is timed."""
EVERY = 5
"""Iterations between them."""


class Trainable(Protocol):
    """What of `Network` is needed here."""

    @property
    def likelihood(self) -> str: ...
    def model(self) -> nn.Module: ...
    def data(self) -> Tensor: ...
    def backward(self, model: nn.Module, data: Tensor) -> None: ...


@dataclass(frozen=True)
class Loop:
    """A training loop on one batch, to be timed an iteration at a time."""

    network: Trainable
    model: nn.Module
    data: Tensor
    optimizer: torch.optim.Optimizer

    def iterate(self) -> None:
        """Forward pass, backward pass, step."""
        self.network.backward(self.model, self.data)
        self.optimizer.step()

    def seconds(self, *, refresh: bool = False) -> float:
        """Of one iteration, with a refresh of statistics and inverses or without."""
        if isinstance(self.optimizer, NaturalGradient):
            self.optimizer._iteration = 0 if refresh else 1
        return seconds(self.iterate)


class Cost(NamedTuple):
    """Seconds, of one round or medians over rounds."""

    plain: float  # an iteration without a refresh
    refresh: float  # what a refresh adds

    def at(self, interval: int) -> float:
        """An iteration with its share of a refresh every so many."""
        return self.plain + self.refresh / interval


def loop(network: Trainable, method: str, refreshes: int = REFRESHES, **options: Any) -> Loop:
    """`adam`, `sgd`, or an optimizer of the library with its options, on the network's own data."""
    model, data = network.model(), network.data()
    optimizer: torch.optim.Optimizer
    if method == "adam":
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, **options)
    elif method == "sgd":
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9)
    else:
        own = {"lr": 0.1, "refresh_every": EVERY, **options}
        optimizer = OPTIMIZERS[method](model, network.likelihood, **own)
    made = Loop(network, model, data, optimizer)
    for _ in range(refreshes * EVERY if isinstance(optimizer, NaturalGradient) else 2):
        made.iterate()
    return made


def rounds(loops: Mapping[str, Loop], count: int) -> list[dict[str, Cost]]:
    """Costs of all loops, round by round, the order alternating: a host that is slow for a while slows all alike."""
    measured = []
    for number in range(count):
        names = list(loops) if number % 2 else list(loops)[::-1]
        row = {}
        for name in names:
            plain = min(loops[name].seconds() for _ in range(2))
            natural = isinstance(loops[name].optimizer, NaturalGradient)
            row[name] = Cost(plain, max(0.0, loops[name].seconds(refresh=True) - plain) if natural else 0.0)
        measured.append(row)
    return measured


def ratio(measured: Sequence[Mapping[str, Cost]], name: str, of: str, interval: int) -> float:
    """The median over rounds of an iteration's cost in that of another, both with a refresh every so many."""
    return statistics.median(row[name].at(interval) / row[of].at(interval) for row in measured)


def refresh_ratio(measured: Sequence[Mapping[str, Cost]], name: str, of: str) -> float:
    """The median over rounds of a refresh's cost in that of another's."""
    return statistics.median(row[name].refresh / row[of].refresh for row in measured)


def state_bytes(optimizer: torch.optim.Optimizer) -> int:
    """All tensors that an optimizer keeps between steps, each storage once."""
    held: dict[int, int] = {}

    def count(value: object) -> None:
        if isinstance(value, torch.Tensor):
            held[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        elif isinstance(value, dict):
            for part in value.values():
                count(part)
        elif isinstance(value, list | tuple):
            for part in value:
                count(part)

    count(optimizer.state_dict())
    return sum(held.values())
