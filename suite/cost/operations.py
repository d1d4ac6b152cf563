"""The kinds of operation that an iteration is made of, each with its work and the sizes that its rate depends on."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

FLOAT64, BFLOAT16 = 2, 0.5
"""Numbers of float32 that one of float64 or bfloat16 counts for in a pass."""


class Operation(NamedTuple):
    """Seconds = calls · (of a call) + work · (of a unit of work, by kind and sizes)."""

    kind: str
    work: float
    sizes: tuple[float, ...] = ()
    calls: int = 1
    double: bool = False  # in float64


def product(rows: float, inner: float, columns: float, *, double: bool = False) -> Operation:
    """(rows, inner) times (inner, columns): 2 · rows · inner · columns operations.

    A product that is thin in one dimension is slower, by which one that is and by how thin it is; so the rate is of
    the thinnest dimension, and of the geometric mean of the two others.
    """
    dimensions = {"rows": rows, "inner": inner, "columns": columns}
    thinnest = min(dimensions, key=dimensions.__getitem__)
    work = 2 * rows * inner * columns
    size = dimensions[thinnest]
    return Operation(f"product thin in {thinnest}", work, ((work / 2 / max(size, 1)) ** 0.5, size), double=double)


def product_in_bfloat16(rows: float, inner: float, columns: float) -> Operation:
    """The same in bfloat16, rated by the geometric mean of the dimensions: by a chip's units, faster or slower."""
    work = product(rows, inner, columns).work
    return Operation("product in bfloat16", work, ((work / 2) ** (1 / 3),))


def repeated(operations: Iterable[Operation], times: int) -> list[Operation]:
    """All of them so many times."""
    return [op._replace(work=op.work * times, calls=op.calls * times) for op in operations]


def batched(operation: Operation, number: int) -> Operation:
    """So many alike in one call."""
    return operation._replace(work=operation.work * number)


def elementwise(numbers: float, calls: int = 1) -> Operation:
    """A pass that moves so many numbers: those read, those written, and once more those written to a new tensor."""
    return Operation("pass", numbers, (numbers / calls,), calls)


def symmetrised(n: float) -> Operation:
    """M + Mᵀ of an (n, n) matrix, which is read by columns too."""
    return Operation("symmetrised", n**2, (n,))


def function(numbers: float) -> Operation:
    """An exponential or logarithm of every number."""
    return Operation("function", numbers)


def draws(numbers: float) -> Operation:
    """Random numbers."""
    return Operation("draws", numbers)


def cholesky(n: float, *, double: bool = False) -> Operation:
    """A Cholesky factor of an (n, n) matrix, n³/3 operations."""
    return Operation("cholesky", n**3 / 3, (n,), double=double)


def cholesky_inverse(n: float) -> Operation:
    """An inverse from its Cholesky factor, 2n³/3 operations."""
    return Operation("cholesky inverse", 2 * n**3 / 3, (n,))


def triangular_solve(n: float, columns: float) -> Operation:
    """L⁻¹ times (n, columns), n² · columns operations."""
    return Operation("triangular solve", n**2 * columns, (n,))


def eigh(n: float, *, double: bool = False) -> Operation:
    """All eigenpairs of a symmetric (n, n) matrix; n³ counts as the work."""
    return Operation("eigh", n**3, (n,), double=double)


def qr(n: float, columns: float) -> Operation:
    """The orthonormal factor of (n, columns), 4 n · columns² operations."""
    return Operation("qr", 4 * n * columns**2, (columns,))


def eigenpairs(n: int) -> list[Operation]:
    """`symmetric_eigh`: made symmetric, decomposed, and freed of subnormal numbers on either side."""
    cleared = [elementwise(3 * n**2, 2)] * 2
    return [symmetrised(n), elementwise(3 * n**2), eigh(n), *cleared, elementwise(n**2), calls(5)]


def calls(number: float) -> Operation:
    """So many calls of torch that do next to nothing."""
    return Operation("calls", 0.0, (), round(number))
