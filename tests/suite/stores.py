"""Stores filled with made-up runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from suite.environment import Environment
from suite.plan.plan import Matrix, load_matrix
from suite.records import Evaluation, FisherError, InverseRank, Iteration, Records
from suite.store import RunRow
from tests.suite.helpers import SMALL, write_spec

if TYPE_CHECKING:
    from pathlib import Path

    from suite.cell import Cell
    from suite.store import Store
    from suite.store.leases import Claim

MACHINE = Environment(
    host="here",
    cpu="a CPU",
    cores=2,
    memory_bytes=24 * 2**30,
    gpus=None,
    driver=None,
    system="Linux",
    python="3.11",
    torch="2.13",
    blas="a BLAS",
    kfsvd="0.1.0",
    commit="0" * 40,
    dirty=False,
)


def matrix_of(folder: Path, text: str = SMALL) -> Matrix:
    return load_matrix(write_spec(folder, text))


def claim(store: Store, cell: Cell, fingerprint: str = "sources", since: int = 0) -> Claim:
    return store.claim(
        cell,
        experiment=store.experiment("small", SMALL),
        environment=store.environment(MACHINE),
        fingerprint=fingerprint,
        device="cpu:0",
        contended=False,
        since=since,
    )


def begin(store: Store, cell: Cell, fingerprint: str = "sources") -> int:
    """A run of a cell at work, whether or not it has a result."""
    run = claim(store, cell, fingerprint).run
    if run is None:  # a result of these sources: it is set aside for the time of the claim
        mine = sa.update(RunRow).where(RunRow.cell_key == cell.key, RunRow.fingerprint == fingerprint)
        store.session.execute(mine.values(fingerprint="set aside"))
        run = claim(store, cell, fingerprint).run
        aside = sa.update(RunRow).where(RunRow.cell_key == cell.key, RunRow.fingerprint == "set aside")
        store.session.execute(aside.values(fingerprint=fingerprint))
        store.session.commit()
    assert run is not None
    store.describe(
        run, problem="digits", pixels=64, floor=10.0, test_floor=10.5, parameters=1000, reference_seconds=0.004
    )
    return run


def rows(url: str, query: str) -> list[tuple[object, ...]]:
    """What a query finds in a store, whoever else has it open."""
    engine = sa.create_engine(url)
    try:
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(query))]
    finally:
        engine.dispose()


def iterations(count: int, start: int = 1, step: float = 0.01, loss: float = 30.0) -> list[Iteration]:
    """Falling losses, ten milliseconds each by default."""
    return [
        Iteration(i, i / 10, loss / i**0.1, i * step, i * step, 0.5 * step, 0.2 * step, 0.1 * step, 0.2 * step)
        for i in range(start, start + count)
    ]


def evaluations(losses: list[float], every: int = 20, step: float = 0.01) -> list[Evaluation]:
    """Losses at equal distances, with two CPU seconds a second."""
    return [
        Evaluation(i * every, i * every / 10, i * every * step, 2 * i * every * step, loss, loss + 1)
        for i, loss in enumerate(losses)
    ]


def fisher(
    layer: str, iteration: int, *errors: float, approximation: str = "kfac", own: bool = True, rank: int = 1
) -> FisherError:
    return FisherError(iteration, layer, approximation, own, rank, *errors)


def kept(
    layer: str, iteration: int, inputs: int, outputs: int, bound: float = 0.5, widths: tuple[int, int] = (65, 16)
) -> InverseRank:
    return InverseRank(iteration, layer, inputs, outputs, *widths, bound)


def finished(store: Store, cell: Cell, records: Records, status: str = "done", fingerprint: str = "sources") -> int:
    run = begin(store, cell, fingerprint)
    store.append(run, records)
    store.finish(run, status)
    return run
