"""Measure what a step costs on a GPU, and write reports/gpu/step-cost.md.

    python -m tests.benchmarks.gpu_cost          (some minutes of the GPU)

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

import torch

from kfsvd.linalg.cholesky import add_diagonal
from kfsvd.linalg.eigh import IN_FLOAT64, ON_HOST
from suite.environment import current_environment
from tests.benchmarks.networks import NETWORKS, fits, seconds
from tests.benchmarks.steady import loop
from tests.benchmarks.step_cost import METHODS, costs, kept, one_thread, table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

PAGE = Path("reports/gpu/step-cost.md")
SIZES = (31, 64, 128, 256, 501, 1001, 2001)
REFRESHES = 6
ROUNDS = 7


def main(device: str = "cuda") -> None:
    """Measure the page on that device."""
    one_thread()
    PAGE.write_text(introduction(device) + "\n")
    for part in [
        partial(inversions, device),
        partial(eigenpairs, device),
        *(partial(network, name, device) for name in ("mnist", "faces", "curves")),
    ]:
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
    """The damped factors of a network inverted in four ways."""
    rows = []
    for name in NETWORKS:
        net = replace(NETWORKS[name], device=device)
        fitted = fits("kfac", net.capture(net.model()))
        damped = [add_diagonal(f, f.new_tensor(0.3)) for c in fitted.values() for f in c.tensors().values()]
        streams = [torch.cuda.Stream(device) for _ in range(4)]  # type: ignore[no-untyped-call]
        ways: list[Callable[[], object]] = [
            partial(waited_for, damped),
            partial(waited_for_once, damped),
            partial(on_streams, streams, damped),
            partial(together, damped),
        ]
        taken: list[list[float]] = [[] for _ in ways]
        for number in range(ROUNDS + 2):
            for own, way in list(zip(taken, ways, strict=True))[:: 1 if number % 2 else -1]:
                own.append(seconds(way))
        medians = [statistics.median(own[2:]) for own in taken]
        rows.append([name.upper(), str(len(damped)), *(f"{1e3 * each:.2f}" for each in medians)])
    headings = ["", "factors", "each waited for, ms", "one wait", "four streams, one wait", "sizes together, one wait"]
    return f"""## Inverses of all factors

KFAC's damped factors of a whole network by Cholesky: each alone, the host waiting for its verdict; each alone, with one
wait for all, as in `kfsvd/linalg/cholesky.py`; the same on four streams in turn; and those of one size in one
call.

{table(headings, rows)}"""


def eigenpairs(device: str) -> str:
    """Full decompositions of one matrix in three ways."""
    rows = []
    for size in SIZES:
        factor = torch.randn(size, 128, device=device)
        matrix = factor @ factor.mT / 128
        wide = matrix.double()
        ways: list[Callable[[], object]] = [
            partial(torch.linalg.eigh, matrix),
            partial(torch.linalg.eigh, wide),
            partial(on_the_host, matrix),
        ]
        taken = [statistics.median(sorted(seconds(way) for _ in range(4))[:3]) for way in ways]
        rows.append([str(size), *(f"{1e3 * each:.2f}" for each in taken)])
    return f"""## Eigenpairs of one matrix

Milliseconds by the width, of four calls in a row the second fastest; on the host with one core, copies counted.
`kfsvd.linalg.eigh.symmetric_eigh` takes the host up to {ON_HOST} and float64 up to {IN_FLOAT64}.

{table(["width", "float32", "float64", "float32 on the host"], rows)}"""


def on_the_host(matrix: Tensor) -> list[Tensor]:
    return [part.to(matrix.device) for part in torch.linalg.eigh(matrix.cpu())]


def inverted(damped: Tensor) -> tuple[Tensor, Tensor]:
    """The inverse, or those of a stack, and what Cholesky says of it."""
    factor, verdict = torch.linalg.cholesky_ex(damped)
    return torch.cholesky_inverse(factor), verdict


def waited_for(damped: Sequence[Tensor]) -> None:
    for matrix in damped:
        int(inverted(matrix)[1])


def waited_for_once(damped: Sequence[Tensor]) -> None:
    torch.stack([inverted(matrix)[1] for matrix in damped]).tolist()


def on_streams(streams: Sequence[torch.cuda.Stream], damped: Sequence[Tensor]) -> None:
    verdicts = []
    current = torch.cuda.current_stream(damped[0].device)
    for index, matrix in enumerate(damped):
        stream = streams[index % len(streams)]
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            verdicts.append(inverted(matrix)[1])
    for stream in streams:
        current.wait_stream(stream)
    torch.stack(verdicts).tolist()


def together(damped: Sequence[Tensor]) -> None:
    sizes = {len(matrix) for matrix in damped}
    stacks = [torch.stack([matrix for matrix in damped if len(matrix) == size]) for size in sizes]
    torch.cat([inverted(stack)[1] for stack in stacks]).tolist()


if __name__ == "__main__":
    main(*sys.argv[1:])
