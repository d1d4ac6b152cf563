"""The cost model held against the clock: predicted and measured iterations of the three networks, refreshing every 10.

    pytest tests/benchmarks/test_cost.py -s            (-k 'not faces' leaves the largest network out)

An iteration is 1 + 1/10 of a refresh: measured as one without a refresh and one with it, by the time of the process,
which stands while others run. The machine is calibrated right before and after, and both predictions are averaged.
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

import pytest
import torch

from kfsvd import NaturalGradient
from kfsvd.optimizers import MATRIX_OPTIMIZERS, OPTIMIZERS
from suite.cost import Rates, calibrate, step_cost
from tests.benchmarks.networks import DAMPING, NETWORKS
from tests.benchmarks.steady import Loop

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.benchmarks.networks import Network

REFRESH_EVERY = 10
EVERYWHERE = {
    "adam": ("adam", {}),
    "kfac": ("kfac", {}),
    "kfac low_rank": ("kfac", {"inverse": "low_rank"}),
    "kpsvd": ("kpsvd", {}),
    "kpsvd low_rank": ("kpsvd", {"inverse": "low_rank"}),
    "deflation low_rank": ("deflation", {"inverse": "low_rank"}),
}
"""Names in the table, methods and options."""
FURTHER = {
    "sgd": ("sgd", {"momentum": 0.9}),
    "ekfac": ("ekfac", {}),
    "exact": ("exact", {"curvature_batch": 0.25}),
    "foof": ("foof", {}),
    "tnt": ("tnt", {}),
    "eva": ("eva", {}),
    "kbfgs": ("kbfgs", {}),
    "two_level_kfac": ("two_level_kfac", {}),
    "shampoo": ("shampoo", {"inverse_every": 1}),
    "shampoo_squared": ("shampoo_squared", {"inverse_every": 1}),
    "swan": ("swan", {}),
    "soap": ("soap", {"refresh_every": 1}),
    "muon": ("muon", {}),
}
"""Likewise, but on faces, where that takes too long. Every step of a matrix optimizer is alike here."""
ROUNDS = {"curves": 5, "mnist": 3, "faces": 2}
SETTLING = {"curves": 10, "mnist": 5, "faces": 3}
"""Refreshes until a low-rank inverse is found in one step from the last one."""

pytestmark = pytest.mark.usefixtures("one_thread")


def iteration(net: Network, method: str, options: dict[str, Any]) -> Loop:
    model, data = net.model(), net.data()
    made: torch.optim.Optimizer
    if method in OPTIMIZERS:
        every: dict[str, Any] = {"lr": 1e-5, "damping": DAMPING, "refresh_every": REFRESH_EVERY}
        made = OPTIMIZERS[method](model, net.likelihood, **every, **options)
    elif method in MATRIX_OPTIMIZERS:
        made = MATRIX_OPTIMIZERS[method](model, net.likelihood, lr=1e-6, **options)
    else:
        kinds = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}
        made = kinds[method](model.parameters(), lr=1e-6, **options)
    loop = Loop(net, model, data, made)
    loop.iterate()
    return loop


def process_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def with_refresh(loop: Loop) -> None:
    """An iteration that refreshes the curvature."""
    assert isinstance(loop.optimizer, NaturalGradient)
    loop.optimizer._iteration = 0
    loop.iterate()


def one_round(loop: Loop) -> float:
    """Seconds of an iteration, a refresh spread over ten."""
    if not isinstance(loop.optimizer, NaturalGradient):
        return process_seconds(loop.iterate)
    loop.optimizer._iteration = 1
    plain = process_seconds(loop.iterate)
    return plain + (process_seconds(lambda: with_refresh(loop)) - plain) / REFRESH_EVERY


def predicted(loop: Loop, method: str, options: dict[str, Any], rates: Rates) -> float:
    """With the ranks that the optimizer's inverses have; a dense one has all."""
    kept, every = None, {"refresh_every": REFRESH_EVERY} if method in OPTIMIZERS else {}
    if options.get("inverse") == "low_rank":
        assert isinstance(loop.optimizer, NaturalGradient)
        whole = {name: curvature.shape[::-1] for name, curvature in loop.optimizer.approximations().items()}
        kept = {name: getattr(inv, "ranks", whole[name]) for name, inv in loop.optimizer.inverses().items()}
    return step_cost(loop.model, method, len(loop.data), kept=kept, rates=rates, **every, **options).total


@pytest.mark.parametrize("network", NETWORKS)
def test_iterations_are_predicted_to_a_quarter(network: str) -> None:
    net = NETWORKS[network]
    cases = EVERYWHERE | ({} if network == "faces" else FURTHER)
    iterations = {name: iteration(net, *case) for name, case in cases.items()}
    for name, loop in iterations.items():
        for _ in range(SETTLING[network] if "low_rank" in name else 0):
            with_refresh(loop)
    before = calibrate(seconds=0.5)
    times: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(ROUNDS[network]):
        for name in cases if number % 2 else reversed(cases):
            times[name].append(one_round(iterations[name]))
    after = calibrate(seconds=0.5)
    print(f"\n{network:20}{'predicted':>12}{'measured':>12}{'ratio':>8}   ms an iteration")
    ratios = {}
    for name, case in cases.items():
        foretold = statistics.mean(predicted(iterations[name], *case, rates) for rates in (before, after))
        measured = statistics.median(times[name])
        ratios[name] = foretold / measured
        print(f"{name:20}{1e3 * foretold:12.1f}{1e3 * measured:12.1f}{ratios[name]:8.2f}")
    assert all(1 / 1.25 < ratio < 1.25 for ratio in ratios.values()), ratios
