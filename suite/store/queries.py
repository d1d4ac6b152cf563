"""What reports ask of a store, as arrays; each query goes through an index."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa

from suite.records import PHASES, Compressed, FisherError, InverseRank
from suite.store.tables import CompressedRow, EvaluationRow, FisherErrorRow, InverseRankRow, IterationRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from suite.store.store import Store
    from suite.store.tables import Table


@dataclass(frozen=True, eq=False)
class Evaluations:
    """A run's evaluations, in order; losses in nats per example."""

    iteration: NDArray[np.float64]
    seconds: NDArray[np.float64]
    cpu_seconds: NDArray[np.float64]
    train_loss: NDArray[np.float64]
    test_loss: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Course:
    """A run's iterations, averaged over bins of equal length, and its totals."""

    iteration: NDArray[np.float64]  # the last of each bin
    seconds: NDArray[np.float64]  # the training clock there
    cpu_seconds: NDArray[np.float64]  # and the CPU seconds
    loss: NDArray[np.float64]  # mean of the bin's batch losses
    iterations: int
    total_seconds: float
    total_cpu_seconds: float
    phases: dict[str, float]  # seconds by phase


def evaluations(store: Store, run: int) -> Evaluations:
    """The evaluations of a run."""
    table = EvaluationRow.__table__
    columns = [table.c[name] for name in ("iteration", "seconds", "cpu_seconds", "train_loss", "test_loss")]
    rows = store.session.execute(sa.select(*columns).where(table.c.run_id == run).order_by(table.c.iteration))
    return Evaluations(*_columns(rows.all(), len(columns)))


def course(store: Store, run: int, bins: int = 200) -> Course:
    """The iterations of a run in at most `bins` bins, averaged by the database."""
    table = IterationRow.__table__
    mine = table.c.run_id == run
    last = store.session.execute(sa.select(sa.func.max(table.c.iteration)).where(mine)).scalar() or 0
    width = max(1, -(-last // bins))
    bin_number = (table.c.iteration - 1) // width
    phases = [sa.func.sum(table.c[name]) for name in ("forward_backward", "curvature", "inversion", "update_seconds")]
    query = (
        sa.select(
            sa.func.max(table.c.iteration),
            sa.func.max(table.c.seconds),
            sa.func.max(table.c.cpu_seconds),
            sa.func.avg(table.c.loss),
            *phases,
        )
        .where(mine)
        .group_by(bin_number)
        .order_by(sa.func.max(table.c.iteration))
    )
    iteration, seconds, cpu, loss, *split = _columns(store.session.execute(query).all(), 4 + len(PHASES))
    return Course(
        iteration=iteration,
        seconds=seconds,
        cpu_seconds=cpu,
        loss=loss,
        iterations=int(last),
        total_seconds=float(seconds[-1]) if len(seconds) else 0.0,
        total_cpu_seconds=float(cpu[-1]) if len(cpu) else 0.0,
        phases={name: float(values.sum()) for name, values in zip(PHASES, split, strict=True)},
    )


def end(store: Store, run: int) -> Course:
    """The totals of a run's clock alone, from its last iteration; no bins and no phases."""
    table = IterationRow.__table__
    columns = [table.c[name] for name in ("iteration", "seconds", "cpu_seconds")]
    query = sa.select(*columns).where(table.c.run_id == run).order_by(table.c.iteration.desc()).limit(1)
    row = store.session.execute(query).first()
    iterations, seconds, cpu_seconds = (0, 0.0, 0.0) if row is None else row
    none = np.empty(0)
    return Course(none, none, none, none, iterations, seconds, cpu_seconds, dict.fromkeys(PHASES, math.nan))


def epochs(store: Store, run: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The complete epochs 1, 2, … of a run, and the mean batch loss of the steps of each, nats per example."""
    table = IterationRow.__table__
    query = sa.select(table.c.epoch, table.c.loss).where(table.c.run_id == run).order_by(table.c.iteration)
    epoch, loss = _columns(store.session.execute(query).all(), 2)
    found = np.arange(1, int(epoch[-1]) + 1 if len(epoch) else 1, dtype=np.float64)
    ends = np.searchsorted(epoch, found, side="right")  # steps that end within or at the end of an epoch are its own
    starts = np.concatenate([[0], ends[:-1]]).astype(np.int64) if len(ends) else ends
    totals = np.concatenate([[0.0], np.cumsum(loss)])
    steps = ends - starts
    some = steps > 0  # a batch may be larger than an epoch
    return found[some], (totals[ends] - totals[starts])[some] / steps[some]


def fisher_errors(store: Store, run: int) -> list[FisherError]:
    """The Fisher errors of a run, by iteration; NULL is NaN, but for a rank, which there may be none of."""
    names = FisherError._fields
    return [
        FisherError._make(
            math.nan if value is None and name != "rank" else value for name, value in zip(names, row, strict=True)
        )
        for row in _by_iteration(store, FisherErrorRow, names, run)
    ]


def inverse_ranks(store: Store, run: int) -> list[InverseRank]:
    """The ranks of a run's inverses, by iteration; NULL is NaN."""
    return [
        InverseRank._make(math.nan if value is None else value for value in row)
        for row in _by_iteration(store, InverseRankRow, InverseRank._fields, run)
    ]


def compressions(store: Store, run: int) -> list[Compressed]:
    """What a run has compressed its network to, by iteration; NULL is NaN."""
    return [
        Compressed._make(math.nan if value is None else value for value in row)
        for row in _by_iteration(store, CompressedRow, Compressed._fields, run)
    ]


def _by_iteration(store: Store, kind: type[Table], names: Sequence[str], run: int) -> Iterable[Any]:
    table = kind.__table__
    return store.session.execute(
        sa.select(*(table.c[name] for name in names)).where(table.c.run_id == run).order_by(table.c.iteration)
    )


def _columns(rows: Sequence[Any], count: int) -> list[NDArray[np.float64]]:
    """Columns of a result; NULL is NaN."""
    if not rows:
        return [np.empty(0) for _ in range(count)]
    return list(np.array([tuple(row) for row in rows], dtype=np.float64).T)
