"""How fast this machine is: seconds of a unit of work, for every kind of operation and a few sizes."""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import torch

from suite.cost import operations as ops

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from suite.cost.operations import Operation

Table = dict[tuple[float, ...], float]
"""Seconds of a unit of work, by sizes."""


@dataclass(frozen=True)
class Rates:
    """Seconds of every kind of operation on one device with one number of threads.

    Between the sizes of a table the seconds of a unit are interpolated, linearly in logarithms; beyond them they are
    those of the last.

    Args:
        call: seconds of a call of torch that does next to nothing.
        tables: by the kind of operation, seconds of a unit of work by sizes.
        double: by the kind of operation, how many times as long it takes in float64; 2 where it is not known.
        device: torch's name of the device.
        threads: of torch.

    """

    call: float
    tables: Mapping[str, Table]
    double: Mapping[str, float] = field(default_factory=dict)
    device: str = "cpu"
    threads: int = 1

    def seconds(self, operation: Operation) -> float:
        """Of one operation.

        Args:
            operation: of a kind that the tables hold, or of calls alone.

        """
        seconds = self.call * operation.calls
        if operation.work:
            factor = self.double.get(_family(operation), 2.0) if operation.double else 1.0
            seconds += factor * operation.work * _interpolated(self.tables[operation.kind], operation.sizes)
        return seconds


def _family(operation: Operation) -> str:
    """The kind, "product" for all products."""
    return operation.kind.split(" thin")[0]


def _interpolated(table: Table, sizes: tuple[float, ...]) -> float:
    """The first size between its neighbours in the table, each of them by the other sizes."""
    if not sizes:
        return table[()]
    size = max(sizes[0], 1.0)
    points = sorted({key[0] for key in table})

    def at(point: float) -> float:
        return _interpolated({key[1:]: value for key, value in table.items() if key[0] == point}, sizes[1:])

    if size <= points[0] or size >= points[-1]:
        return at(points[0] if size <= points[0] else points[-1])
    low, high = next(pair for pair in pairwise(points) if pair[0] <= size <= pair[1])
    share = math.log(size / low) / math.log(high / low)
    return float(at(low) ** (1 - share) * at(high) ** share)


def calibrate(device: torch.device | str = "cpu", seconds: float = 1.0) -> Rates:
    """Measure the rates of this machine, with torch's present number of threads.

    Every kind of operation is timed at a few sizes, in turns, so that a host that is slower for a while slows all
    alike; each is the mean of its turns. A single thread of a CPU is timed by its own clock, which stands while
    another process has its core.

    Args:
        device: what is to be measured.
        seconds: about how long that may take; every operation is timed once at least.

    """
    device = torch.device(device)
    clock, samples = _clock(device), _samples(device)
    times: list[list[float]] = [[] for _ in samples]
    share = seconds / len(samples)
    spent = [0.0] * len(samples)
    while min(spent) < share:
        for index, sample in enumerate(samples):
            if spent[index] < share:
                times[index].append(sample.seconds(clock))
                spent[index] += times[index][-1] * len(sample.runs)
    taken = {sample.operation: statistics.fmean(t[1:] or t) for sample, t in zip(samples, times, strict=True)}
    call = taken.pop(_CALLS) / _CALLS.calls
    units = {op: max(t - call, t / 2) / op.work for op, t in taken.items()}
    tables: dict[str, Table] = {}
    for op, unit in units.items():
        if not op.double:
            tables.setdefault(op.kind, {})[op.sizes] = unit
    double = {_family(op): unit / _interpolated(tables[op.kind], op.sizes) for op, unit in units.items() if op.double}
    return Rates(call, tables, double, str(device), torch.get_num_threads())


_CALLS = ops.calls(24)
_CACHE = 2**22
"""Bytes of operands that are not to be found in a cache."""
_WIDTHS = (64, 250, 1000)
_THIN = (1, 4, 16, 60, 250)


def _clock(device: torch.device) -> Callable[[], float]:
    if device.type != "cpu":

        def synchronised() -> float:
            torch.accelerator.synchronize(device)
            return time.perf_counter()

        return synchronised
    return time.thread_time if torch.get_num_threads() == 1 else time.perf_counter


class _Sample(NamedTuple):
    """An operation to be timed, on several operands in turn, so that it does not find them in the caches."""

    operation: Operation
    runs: list[Callable[[], object]]

    def seconds(self, clock: Callable[[], float]) -> float:
        begun = clock()
        for run in self.runs:
            run()
        return (clock() - begun) / len(self.runs)


def _small_calls(small: Tensor) -> None:
    """A mix of calls on a few numbers."""
    for _ in range(_CALLS.calls // 8):
        small.mul_(1.0)
        small + small
        small.sum()
        small @ small
        small.flatten()
        torch.cat([small, small], 1)
        small.lerp(small, 0.5)
        small.mT.abs()


def _samples(device: torch.device) -> list[_Sample]:
    """What is timed: operations, each with a way to do it. Sizes are no powers of two, which meet in caches."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype).to(device)

    def positive(n: int, dtype: torch.dtype = torch.float32) -> Tensor:
        rows = normal(2 * n, n, dtype=dtype)
        return rows.mT @ rows / n

    made = [_Sample(_CALLS, [partial(_small_calls, torch.ones(4, 4, device=device))])]

    def add(operation: Operation, run: Callable[..., object], *arguments: Tensor) -> None:
        size = sum(a.numel() * a.element_size() for a in arguments)
        copies = max(1, min(16, _CACHE // size))
        made.append(_Sample(operation, [partial(run, *(a.clone() for a in arguments)) for _ in range(copies)]))

    for width in _WIDTHS:
        for thin in [t for t in _THIN if t < width] + [width]:
            shapes = ((thin, width, width), (width, thin, width), (width, width, thin))
            for shape, kind in zip(shapes, ("rows", "inner", "columns"), strict=True):
                operation = ops.product(*shape)._replace(kind=f"product thin in {kind}", sizes=(width, thin))
                add(operation, torch.matmul, normal(*shape[:2]), normal(*shape[1:]))
        half = [normal(width, width, dtype=torch.bfloat16) for _ in range(2)]
        torch.matmul(*half)  # the first product of a shape compiles its kernel
        add(ops.product_in_bfloat16(width, width, width), torch.matmul, *half)
    wide = [normal(250, 250, dtype=torch.float64) for _ in range(2)]
    add(ops.product(250, 250, 250, double=True), torch.matmul, *wide)
    for numbers in (3_000, 30_000, 300_000, 3_000_000, 12_000_000):
        tensors = [normal(numbers // 3) for _ in range(2)]
        add(ops.elementwise(numbers), _added, *tensors)
    uniform = torch.rand(30_000, generator=generator).to(device)
    add(ops.function(30_000), torch.sigmoid, uniform)
    add(ops.draws(30_000), partial(torch.bernoulli, generator=torch.Generator(device)), uniform)
    for n in (16, 60, 120, 250, 500, 1000, 2000):
        if n <= 1000:
            matrix = positive(n)
            factor = torch.linalg.cholesky(matrix)
            add(ops.cholesky(n), torch.linalg.cholesky_ex, matrix)
            add(ops.cholesky_inverse(n), torch.cholesky_inverse, factor)
            add(ops.eigh(n), torch.linalg.eigh, matrix)
            if n >= 60:
                add(ops.triangular_solve(n, n), _solved, factor, matrix)
        square = normal(n, n)
        add(ops.symmetrised(n), torch.add, square, square.mT)
    add(ops.cholesky(250, double=True), torch.linalg.cholesky_ex, positive(250, torch.float64))
    add(ops.eigh(250, double=True), torch.linalg.eigh, positive(250, torch.float64))
    for columns in (8, 30, 120, 500):
        add(ops.qr(500, columns), torch.linalg.qr, normal(500, columns))
    return made


def _added(one: Tensor, other: Tensor) -> Tensor:
    return one.add_(other, alpha=1e-9)


def _solved(factor: Tensor, right: Tensor) -> Tensor:
    solution: Tensor = torch.linalg.solve_triangular(factor, right, upper=False)
    return solution
