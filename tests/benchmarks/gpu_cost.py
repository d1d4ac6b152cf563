"""Measure what a step costs on a GPU, and write reports/step-cost-gpu.md.

    python -m tests.benchmarks.gpu_cost          (two minutes of the GPU)

As `step_cost` does: the contenders alternate within one process, medians over rounds, each timed until the device has
done all that it was given.
"""

from __future__ import annotations

import statistics
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import torch

import kfsvd.cholesky
from kfsvd.cholesky import STREAMS, damped_cholesky_inverses
from suite.environment import current_environment
from tests.benchmarks.networks import NETWORKS, fits, seconds
from tests.benchmarks.steady import loop
from tests.benchmarks.step_cost import METHODS, costs, kept, one_thread, table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

PAGE = Path("reports/step-cost-gpu.md")
REFRESHES = 6
ROUNDS = 7


def main(device: str = "cuda") -> None:
    """Measure the page on that device."""
    one_thread()
    PAGE.write_text(introduction(device) + "\n")
    for part in [partial(inversions, device), *(partial(network, name, device) for name in NETWORKS)]:
        with PAGE.open("a") as page:
            page.write(f"\n{part().strip()}\n")


def introduction(device: str) -> str:
    here = current_environment()
    return f"""# What a step costs on a GPU

Measured by `python -m tests.benchmarks.gpu_cost` on {here.gpus or device}, {here.cpu}, torch {here.torch}, driver
{here.driver}, {here.system}. Contenders alternate within one process; ratios are medians over rounds, and every
iteration is timed until the GPU has done all of it. An optimizer is in its steady state: six refreshes have filled
its averages and warmed its inverses. λ = 0.1, a quarter of the batch for the curvature, float32 without TF32. The data
are random, with the paper's networks."""


def network(name: str, device: str) -> str:
    """All methods on one of the paper's networks."""
    net = replace(NETWORKS[name], device=device)
    loops = {"adam": loop(net, "adam"), "adam, fused": loop(net, "adam", fused=True), "sgd": loop(net, "sgd")}
    for method in METHODS:
        loops[method] = loop(net, method, REFRESHES)
        loops[f"{method}, low rank"] = loop(net, method, REFRESHES, inverse="low_rank")
    rows, adam = costs(loops, ROUNDS)
    return f"""## {name.upper()}'s network, batch {net.batch}

An iteration in Adam's ({1e3 * adam:.2f} ms), without a refresh and with one every 100 and every 10 iterations; a
refresh in that of KFAC; the optimizer's state in bytes of the weights. Inverses are dense but where the row says low
rank.

{rows}

Directions kept, inputs / outputs of each layer: {kept(loops["kfac, low rank"].optimizer)} (KFAC);
{kept(loops["deflation, low rank"].optimizer)} (Deflation)."""


def inversions(device: str) -> str:
    """The damped factors of a network inverted in three ways."""
    rows = []
    streams = [torch.cuda.Stream(device) for _ in range(STREAMS)] if device != "cpu" else []  # type: ignore[no-untyped-call]
    for name in NETWORKS:
        net = replace(NETWORKS[name], device=device)
        fitted = fits("kfac", net.capture(net.model()))
        matrices = [factor for curvature in fitted.values() for factor in curvature.tensors().values()]
        shifts = [matrix.new_tensor(0.3) for matrix in matrices]
        ways: dict[str, Callable[[], object]] = {
            "alone": partial(each_alone, matrices, shifts),
            "together": partial(on_streams, streams[:1], matrices, shifts),
            "beside": partial(on_streams, streams, matrices, shifts),
        }
        taken: dict[str, list[float]] = {way: [] for way in ways}
        for number in range(ROUNDS + 2):
            for way in list(ways) if number % 2 else list(ways)[::-1]:
                taken[way].append(seconds(ways[way]))
        medians = [statistics.median(own[2:]) for own in taken.values()]
        rows.append([name.upper(), str(len(matrices)), *(f"{1e3 * each:.2f}" for each in medians)])
    headings = ["", "factors", "each alone, ms", "groups on one stream", "groups on four streams"]
    return f"""## Inverses of all factors

KFAC's damped factors of a whole network by Cholesky (`kfsvd/cholesky.py`): each alone, waiting for its verdict; those
of one size in one call, with one wait for all, on one side stream or on four.

{table(headings, rows)}"""


def each_alone(matrices: Sequence[Tensor], shifts: Sequence[Tensor]) -> None:
    for matrix, shift in zip(matrices, shifts, strict=True):
        damped_cholesky_inverses([matrix], [shift])


def on_streams(streams: Sequence[torch.cuda.Stream], matrices: Sequence[Tensor], shifts: Sequence[Tensor]) -> None:
    with mock.patch.object(kfsvd.cholesky, "_side_streams", return_value=streams):
        damped_cholesky_inverses(matrices, shifts)


if __name__ == "__main__":
    main(*sys.argv[1:])
