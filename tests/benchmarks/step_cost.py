"""Measure what a step costs, and write reports/step-cost.md with its figures.

    python -m tests.benchmarks.step_cost          (some fifteen minutes; leave the machine to it)
    python -m tests.benchmarks.step_cost peers    (a part of it anew: see `main`)

Ratios are of one process in which the contenders alternate, medians over rounds, one thread. `test_bars.py` and
`test_peers.py` hold such numbers to their bars. Peers are measured where they are installed (peers.txt).
"""

from __future__ import annotations

import importlib
import json
import math
import resource
import statistics
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl

mpl.use("agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from tabulate import tabulate
from threadpoolctl import threadpool_limits
from torch import nn

from kfsvd import NaturalGradient, fit, negative_log_likelihood, relative_error
from kfsvd.inverse.low_rank import LowRankInverse
from suite.environment import current_environment
from suite.report.figures.palette import colour
from tests.benchmarks.networks import NETWORKS, seconds
from tests.benchmarks.steady import Loop, loop, ratio, refresh_ratio, rounds, state_bytes
from tests.benchmarks.test_peers import PEERS, Ours
from tests.kfsvd.conftest import make_samples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from torch import Tensor


PAGE = Path("reports/step-cost.md")
FIGURES = Path("reports/step-cost")
METHODS = ("kfac", "kpsvd", "deflation", "lanczos", "kfac_corrected")
NEVER = 10**9
WIDTHS = (256, 512, 1024, 2048, 4096)
EXAMPLES = (32, 64, 128, 256, 512, 1024, 2048)
LARGEST = (8192, 16384)
WIDE_METHODS: dict[str, tuple[str, dict[str, str]]] = {
    "Adam": ("adam", {}),
    "KFAC, dense": ("kfac", {}),
    "KFAC, low rank": ("kfac", {"inverse": "low_rank"}),
    "KPSVD, low rank": ("kpsvd", {"inverse": "low_rank"}),
    "Deflation, low rank": ("deflation", {"inverse": "low_rank"}),
}


def one_thread() -> None:
    """Torch's, and those of SciPy's BLAS."""
    torch.set_num_threads(1)
    threadpool_limits(1)


@dataclass(frozen=True)
class Wide:
    """One square Linear layer with a bias, and data of 20 random features, like `networks.Network`."""

    width: int
    batch: int = 512
    likelihood: str = "gaussian"

    def model(self) -> nn.Module:
        torch.manual_seed(0)
        return nn.Linear(self.width, self.width)

    def data(self) -> Tensor:
        generator = torch.Generator().manual_seed(1)
        features = torch.randn(20, self.width, generator=generator)
        return torch.sigmoid(torch.randn(self.batch, 20, generator=generator) @ features)

    def backward(self, model: nn.Module, data: Tensor) -> None:
        model.zero_grad(set_to_none=True)
        negative_log_likelihood(self.likelihood, model(data), data).mean().backward()  # type: ignore[no-untyped-call]


def main() -> None:
    """Measure all parts of the page, or those alone that are named on the command line."""
    parts = {
        "introduction": introduction,
        "mnist": partial(networks, "mnist"),
        "curves": partial(networks, "curves"),
        "peers": peers,
        "widths": widths,
        "examples": examples,
        "limits": limits,
        "alternatives": alternatives,
    }
    if sys.argv[1:2] == ["--largest"]:
        print(json.dumps(largest(int(sys.argv[2]))))
        return
    one_thread()
    FIGURES.mkdir(parents=True, exist_ok=True)
    chosen = sys.argv[1:] or list(parts)
    texts = dict(zip(parts, PAGE.read_text().split("\n\n## "), strict=False)) if PAGE.exists() else {}
    for name, measure in parts.items():
        if name in chosen:
            texts[name] = measure().removeprefix("## ")
    PAGE.write_text("\n\n## ".join(texts[name].strip() for name in parts if name in texts) + "\n")


def introduction() -> str:
    here = current_environment()
    samples = make_samples(512, 785, 1000, dtype=torch.float32)
    error = min(seconds(partial(relative_error, samples, fit("kpsvd", samples))) for _ in range(5))
    return f"""# What a step costs

Measured by `python -m tests.benchmarks.step_cost` on {here.cpu}, one thread, torch {here.torch}, {here.system}.
Contenders alternate within one process; ratios are medians over rounds. An optimizer is in its steady state: twenty
refreshes have filled its averages and warmed its inverses. λ = 0.1, a quarter of the batch for the curvature, and
tolerances at their defaults. The data are random, with the paper's networks; real data keep other ranks, which every
report of a benchmark shows.

An exact relative Fisher error of a 785×1000 layer with 512 samples takes {error:.3f} s (bar: 0.2 s)."""


def networks(name: str) -> str:
    """All methods on one of the paper's networks."""
    net = NETWORKS[name]
    loops = {"adam": loop(net, "adam"), "sgd": loop(net, "sgd")}
    loops |= {method: loop(net, method, inverse="low_rank") for method in METHODS}
    loops |= {f"{method}, dense": loop(net, method) for method in ("kfac", "kpsvd", "deflation")}
    rows, adam = costs(loops)
    bars = (
        ""
        if name != "mnist"
        else (
            "\nBars: every 100 and every 10, KFAC and KPSVD 1.25 and 1.35, rank two 1.4 and 1.6; a refresh in KFAC's,"
            "\nKPSVD 1.05, rank two 1.5; the state 6."
        )
    )
    return f"""## {name.upper()}'s network, batch {net.batch}

An iteration in Adam's ({1e3 * adam:.1f} ms), without a refresh and with one every 100 and every 10 iterations; a
refresh in that of KFAC with low-rank inverses; the optimizer's state in bytes of the weights. Inverses are of low rank
but where the row says dense.{bars}

{rows}

Directions kept, inputs / outputs of each layer: {kept(loops["kfac"].optimizer)} (KFAC);
{kept(loops["deflation"].optimizer)} (Deflation)."""


def costs(loops: Mapping[str, Loop], count: int = 11) -> tuple[str, float]:
    """The table of what an iteration and a refresh cost in those of the loops "adam" and "kfac"; seconds of Adam's."""
    measured = rounds(loops, count)
    parameters = sum(p.numel() * p.element_size() for p in loops["adam"].model.parameters())
    rows = []
    for label, own in loops.items():
        natural = isinstance(own.optimizer, NaturalGradient)
        rows.append(
            [
                label,
                f"{ratio(measured, label, 'adam', NEVER):.2f}",
                *(f"{ratio(measured, label, 'adam', n):.2f}" if natural else "" for n in (100, 10)),
                f"{1e3 * statistics.median(row[label].refresh for row in measured):.0f}" if natural else "",
                f"{refresh_ratio(measured, label, 'kfac'):.2f}" if natural else "",
                f"{state_bytes(own.optimizer) / parameters:.1f}",
            ]
        )
    headings = ["", "no refresh", "every 100", "every 10", "refresh, ms", "÷ KFAC's", "state ÷ weights"]
    return table(headings, rows), statistics.median(row["adam"].plain for row in measured)


def kept(optimizer: torch.optim.Optimizer) -> str:
    assert isinstance(optimizer, NaturalGradient)
    ranks = [i.ranks if isinstance(i, LowRankInverse) else None for i in optimizer.inverses().values()]
    return ", ".join("dense" if rank is None else f"{rank[0]}/{rank[1]}" for rank in ranks)


def peers() -> str:
    rows = []
    for peer in PEERS:
        try:
            importlib.import_module(peer.module)
        except ImportError:
            continue
        for share in peer.shares:
            loops = {"theirs": peer(share), "ours": Ours(share, peer.settings | {"inverse": "low_rank"})}
            taken = [{name: own.costs() for name, own in loops.items()} for _ in range(9)]
            columns = ("step", "plain", "refresh")
            rows.append(
                [
                    f"{peer.__name__} ({peer.distribution})",
                    f"{peer.settings['fisher']}, {share:g}",
                    *(f"{1e3 * statistics.median(row['theirs'][c] for row in taken):.0f}" for c in columns),
                    *(f"{statistics.median(row['ours'][c] / row['theirs'][c] for row in taken):.2f}" for c in columns),
                ]
            )
    headings = [
        "peer",
        "Fisher, share",
        "step, ms",
        "plain",
        "with refresh",
        "ours ÷ theirs: step",
        "plain ",
        "refresh",
    ]
    return f"""## Beside its peers

KFAC with low-rank inverses beside every KFAC for PyTorch that pip installs by name, on MNIST's network with the peer's
own settings (`tests/benchmarks/test_peers.py`): an iteration with a tenth of a refresh, one without, one with. Bar: 0.7
of the fastest's step.

{table(headings, rows) if rows else "None was installed."}"""


def widths() -> str:
    """One square layer of rising width."""
    plain: dict[str, list[float]] = {label: [] for label in WIDE_METHODS}
    refresh: dict[str, list[float]] = {label: [] for label in WIDE_METHODS}
    for width in WIDTHS:
        loops = {
            label: loop(Wide(width), method, refreshes=4, **options)
            for label, (method, options) in WIDE_METHODS.items()
        }
        measured = rounds(loops, 5 if width < 2048 else 3)
        for label in loops:
            plain[label].append(statistics.median(row[label].plain for row in measured))
            refresh[label].append(statistics.median(row[label].refresh for row in measured))
    del refresh["Adam"]
    draw(
        "width",
        {"an iteration without a refresh": plain, "what a refresh adds": refresh},
        WIDTHS,
        "width of a square layer",
    )
    rows = [
        [label, exponent(WIDTHS, plain[label]), exponent(WIDTHS, refresh[label]) if label in refresh else ""]
        for label in WIDE_METHODS
    ]
    return f"""## Against width

One square Linear layer, batch 512. Exponents between widths {WIDTHS[-3]} and {WIDTHS[-1]}:

{table(["", "iteration", "refresh"], rows)}

![Seconds of an iteration and of a refresh against the layer's width](step-cost/width.png)"""


def examples() -> str:
    """A fit alone, on more and more examples."""
    taken: dict[str, list[float]] = {method: [] for method in METHODS}
    for m in EXAMPLES:
        samples = make_samples(m, 785, 1000, dtype=torch.float32)
        for method in METHODS:
            taken[method].append(min(seconds(partial(fit, method, samples)) for _ in range(3 if m < 1024 else 1)))
    draw("examples", {"a fit to the samples of a 785×1000 layer": taken}, EXAMPLES, "examples of the curvature batch")
    rows = [[method, exponent(EXAMPLES, taken[method])] for method in METHODS]
    return f"""## Against the curvature batch

A fit of F̂ to the samples of one layer, without capture and inverse. Exponents between {EXAMPLES[-3]} and {EXAMPLES[-1]}
examples:

{table(["", "fit"], rows)}

![Seconds of a fit against the examples of the curvature batch](step-cost/examples.png)"""


def limits() -> str:
    rows = []
    for width in LARGEST:
        command = [sys.executable, "-m", "tests.benchmarks.step_cost", "--largest", str(width)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode:
            rows.append([f"{width:,}²", f"{width * width:,}", "did not end", "", ""])
            continue
        got = json.loads(ended.stdout)
        numbers = (f"{got[name]:.1f}" for name in ("first", "second", "peak"))
        rows.append([f"{width:,}²", f"{width * width:,}", *numbers])
    headings = ["Linear", "weights", "first step, s", "second step, s", "peak memory, GB"]
    return f"""## The largest layer

One Linear with KFAC and low-rank inverses, batch 128, on a machine with {memory():.0f} GB: forward and backward pass
and a step with a refresh, and one without.

{table(headings, rows)}"""


def alternatives() -> str:
    """What was tried and is not offered."""
    net = NETWORKS["mnist"]
    samples = net.capture(net.model()).values()

    def moments(dtype: torch.dtype) -> list[Tensor]:
        rows = [side.to(dtype) for s in samples for side in (s.activations, s.gradients)]
        return [(x.mT @ x).float() for x in rows]

    plain, halved = (partial(moments, dtype) for dtype in (torch.float32, torch.bfloat16))
    full, half = (min(seconds(work) for _ in range(9)) for work in (plain, halved))
    error = max(float((h - f).norm() / f.norm()) for f, h in zip(plain(), halved(), strict=True))

    def move(momentum: Tensor, step: Tensor, weight: Tensor, scale: Tensor) -> None:
        momentum.mul_(0.9).addcmul_(step, scale)
        weight.add_(momentum, alpha=-1e-9)

    tensors = [[torch.zeros(layer.shape) for _ in range(3)] for layer in samples]
    scale, compiled = torch.tensor(1.0), torch.compile(move, dynamic=True)

    def moved(function: Callable[..., None]) -> float:
        def all_layers() -> None:
            for own in tensors:
                function(*own, scale)

        return min(seconds(all_layers) for _ in range(15))

    eager, fused = moved(move), moved(compiled)
    iteration = min(loop(net, "adam").seconds() for _ in range(5))
    saved = full - half
    return f"""## What was tried and is not offered

On MNIST's network, in an iteration of Adam's ({1e3 * iteration:.0f} ms):

* **bfloat16 statistics**: the moments of a refresh take {1e3 * half:.1f} ms instead of {1e3 * full:.1f}, where the
  processor has instructions for it as this one, and are off by up to {error:.1%}. With a refresh every 10 iterations
  that is {saved / 10 / iteration:.1%} of an iteration, every 100 {saved / 100 / iteration:.2%}.
* **torch.compile of the update's passes**: {1e3 * fused:.1f} ms instead of {1e3 * eager:.1f},
  {(eager - fused) / iteration:.1%} of an iteration, after a compilation at the first step. The products that make most
  of an update are the same."""


def largest(width: int) -> dict[str, float]:
    one_thread()
    net = Wide(width, batch=128)
    model, data = net.model(), net.data()
    optimizer = NaturalGradient(
        model, net.likelihood, approximation="kfac", inverse="low_rank", curvature_batch=1.0, lr=0.1
    )

    def iterate() -> None:
        net.backward(model, data)
        optimizer.step()

    first, second = seconds(iterate), seconds(iterate)
    assert all(bool(torch.isfinite(p).all()) for p in model.parameters())
    return {"first": first, "second": second, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}


def memory() -> float:
    count = current_environment().memory_bytes
    return math.nan if count is None else count / 1e9


def exponent(sizes: Sequence[int], taken: Sequence[float]) -> str:
    """Of the power law through the last three sizes, by least squares."""
    slope = np.polyfit(np.log(sizes[-3:]), np.log(taken[-3:]), 1)[0]
    return f"{slope:.1f}"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    alignment = ["left", *["right"] * (len(headings) - 1)]
    return tabulate(rows, headers=headings, tablefmt="pipe", colalign=alignment, disable_numparse=True)


def draw(name: str, panels: Mapping[str, Mapping[str, Sequence[float]]], sizes: Sequence[int], what: str) -> None:
    figure, axes = plt.subplots(1, len(panels), figsize=(5.2 * len(panels), 3.8), layout="constrained", squeeze=False)
    for axis, (title, curves) in zip(axes[0], panels.items(), strict=True):
        for label, values in curves.items():
            method = WIDE_METHODS[label][0] if label in WIDE_METHODS else label
            stroke = "--" if "dense" in label else "-"
            axis.plot(sizes, values, stroke, color=colour(method), marker="o", markersize=3, label=label)
        axis.set(xscale="log", yscale="log", xlabel=what, ylabel="seconds", title=title)
        axis.set_xticks(sizes, [str(size) for size in sizes])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False, fontsize=8)
    figure.savefig(FIGURES / f"{name}.png", dpi=130)
    plt.close(figure)


if __name__ == "__main__":
    main()
