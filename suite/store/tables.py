"""The tables of a store. Readable with any tool of its database; numbers are numbers, and a NaN is NULL."""

from __future__ import annotations

import datetime as dt
from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, DateTime, Double, ForeignKey, Index, Integer, String, Text, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

_Long = BigInteger().with_variant(Integer, "sqlite")  # whose integers have eight bytes anyway


class Table(DeclarativeBase):
    """The base of all tables."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {float: Double}


class Experiment(Table):
    """A specification, once for each of its texts."""

    __tablename__ = "experiments"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    text_hash: Mapped[str] = mapped_column(String(64), unique=True)
    text: Mapped[str] = mapped_column(Text)
    first_run_at: Mapped[dt.datetime] = mapped_column(DateTime(timezone=True))


class EnvironmentRow(Table):
    """Machine and software that runs were measured with, once for each."""

    __tablename__ = "environments"

    id: Mapped[int] = mapped_column(primary_key=True)
    content_hash: Mapped[str] = mapped_column(String(64), unique=True)
    host: Mapped[str] = mapped_column(String(255))
    cpu: Mapped[str] = mapped_column(String(255))
    cores: Mapped[int]
    memory_bytes: Mapped[int | None] = mapped_column(_Long)
    gpus: Mapped[str | None] = mapped_column(Text)
    driver: Mapped[str | None] = mapped_column(String(64))
    system: Mapped[str] = mapped_column(String(255))
    python: Mapped[str] = mapped_column(String(32))
    torch: Mapped[str] = mapped_column(String(64))
    blas: Mapped[str] = mapped_column(String(255))
    kfsvd: Mapped[str] = mapped_column(String(32))
    commit: Mapped[str | None] = mapped_column("git_commit", String(40))
    dirty: Mapped[bool | None]


class RunRow(Table):
    """One attempt at one cell."""

    __tablename__ = "runs"
    __table_args__ = (
        Index("runs_by_cell", "cell_key", "status"),
        Index("runs_by_status", "status"),
        Index(  # the lease on a cell: no two runs of it are at work at once
            "runs_at_work",
            "cell_key",
            "fingerprint",
            unique=True,
            sqlite_where=text("status = 'running'"),
            postgresql_where=text("status = 'running'"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    experiment_id: Mapped[int] = mapped_column(ForeignKey("experiments.id"))
    environment_id: Mapped[int] = mapped_column(ForeignKey("environments.id"))
    cell_key: Mapped[str] = mapped_column(String(16))
    fingerprint: Mapped[str] = mapped_column(String(16))
    optimizer: Mapped[str] = mapped_column(String(255))
    compression: Mapped[str | None] = mapped_column(String(255))
    dataset: Mapped[str] = mapped_column(String(255))
    seed: Mapped[int] = mapped_column(_Long)
    definition: Mapped[dict[str, object]] = mapped_column(JSON)
    group_key: Mapped[str] = mapped_column(String(16), index=True)
    status: Mapped[str] = mapped_column(String(16))
    device: Mapped[str] = mapped_column(String(32))
    contended: Mapped[bool]
    reference_seconds: Mapped[float | None]
    problem: Mapped[str | None] = mapped_column(String(64))
    pixels: Mapped[int | None]
    parameters: Mapped[int | None]
    floor: Mapped[float | None]
    test_floor: Mapped[float | None]
    started_at: Mapped[dt.datetime] = mapped_column(DateTime(timezone=True))
    ended_at: Mapped[dt.datetime | None] = mapped_column(DateTime(timezone=True))
    heartbeat_at: Mapped[dt.datetime] = mapped_column(DateTime(timezone=True))
    owner_host: Mapped[str] = mapped_column(String(255))
    owner_pid: Mapped[int]
    wall_seconds: Mapped[float | None]
    peak_memory_bytes: Mapped[int | None] = mapped_column(_Long)
    error: Mapped[str | None] = mapped_column(Text)

    @property
    def compressed_by(self) -> str:
        """As of its cell: "" where no network is compressed."""
        return self.compression or ""


class IterationRow(Table):
    """One step: the batch's loss before it, cumulative clock and CPU seconds, and its own seconds by phase."""

    __tablename__ = "iterations"
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012  SQLAlchemy's own form

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), primary_key=True, autoincrement=False)
    iteration: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    epoch: Mapped[float]
    loss: Mapped[float | None]
    seconds: Mapped[float]
    cpu_seconds: Mapped[float]
    forward_backward: Mapped[float]
    curvature: Mapped[float]
    inversion: Mapped[float]
    update: Mapped[float] = mapped_column("update_seconds")


class EvaluationRow(Table):
    """Losses over the training and test set, in nats per example."""

    __tablename__ = "evaluations"
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), primary_key=True, autoincrement=False)
    iteration: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    epoch: Mapped[float]
    seconds: Mapped[float]
    cpu_seconds: Mapped[float]
    train_loss: Mapped[float | None]
    test_loss: Mapped[float | None]


class FisherErrorRow(Table):
    """Relative Frobenius error of an approximation of a layer's block, and the best possible one at its rank.

    A row is of the optimizer's own running approximation, or of one that was fitted to the measurement's own batch.
    """

    __tablename__ = "fisher_errors"
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), primary_key=True, autoincrement=False)
    iteration: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    layer: Mapped[str] = mapped_column(String(255), primary_key=True)
    approximation: Mapped[str] = mapped_column(String(32), primary_key=True)
    own: Mapped[bool] = mapped_column(primary_key=True)
    rank: Mapped[int | None]
    in_batch: Mapped[float | None]
    held_out: Mapped[float | None]
    best_in_batch: Mapped[float | None]
    best_held_out: Mapped[float | None]
    spectrum: Mapped[float | None]
    efficiency: Mapped[float | None]


class InverseRankRow(Table):
    """Directions that a layer's damped inverse keeps of its inputs and outputs, and the bound of its relative error."""

    __tablename__ = "inverse_ranks"
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), primary_key=True, autoincrement=False)
    iteration: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    layer: Mapped[str] = mapped_column(String(255), primary_key=True)
    inputs: Mapped[int]
    outputs: Mapped[int]
    width_in: Mapped[int]
    width_out: Mapped[int]
    bound: Mapped[float | None]


class CompressedRow(Table):
    """A trained network made smaller, and trained on for so many iterations: its losses, in nats per example."""

    __tablename__ = "compressions"
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), primary_key=True, autoincrement=False)
    ratio: Mapped[float] = mapped_column(primary_key=True)
    iteration: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    parameters: Mapped[int]
    train_loss: Mapped[float | None]
    test_loss: Mapped[float | None]
