"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "experiments",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("text_hash", sa.String(64), nullable=False, unique=True),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("first_run_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "environments",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("content_hash", sa.String(64), nullable=False, unique=True),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("cpu", sa.String(255), nullable=False),
        sa.Column("cores", sa.Integer, nullable=False),
        sa.Column("memory_bytes", sa.Integer),
        sa.Column("gpus", sa.Text),
        sa.Column("driver", sa.String(64)),
        sa.Column("system", sa.String(255), nullable=False),
        sa.Column("python", sa.String(32), nullable=False),
        sa.Column("torch", sa.String(64), nullable=False),
        sa.Column("blas", sa.String(255), nullable=False),
        sa.Column("kfsvd", sa.String(32), nullable=False),
        sa.Column("git_commit", sa.String(40)),
        sa.Column("dirty", sa.Boolean),
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("experiment_id", sa.Integer, sa.ForeignKey("experiments.id"), nullable=False),
        sa.Column("environment_id", sa.Integer, sa.ForeignKey("environments.id"), nullable=False),
        sa.Column("cell_key", sa.String(16), nullable=False),
        sa.Column("fingerprint", sa.String(16), nullable=False),
        sa.Column("optimizer", sa.String(255), nullable=False),
        sa.Column("dataset", sa.String(255), nullable=False),
        sa.Column("seed", sa.Integer, nullable=False),
        sa.Column("definition", sa.JSON, nullable=False),
        sa.Column("group_key", sa.String(16), nullable=False, index=True),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("device", sa.String(32), nullable=False),
        sa.Column("contended", sa.Boolean, nullable=False),
        sa.Column("reference_seconds", sa.Double),
        sa.Column("problem", sa.String(64)),
        sa.Column("pixels", sa.Integer),
        sa.Column("parameters", sa.Integer),
        sa.Column("floor", sa.Double),
        sa.Column("test_floor", sa.Double),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("owner_host", sa.String(255), nullable=False),
        sa.Column("owner_pid", sa.Integer, nullable=False),
        sa.Column("wall_seconds", sa.Double),
        sa.Column("peak_memory_bytes", sa.Integer),
        sa.Column("error", sa.Text),
        sa.Index("runs_by_cell", "cell_key", "status"),
        sa.Index("runs_by_status", "status"),
    )
    op.create_table(
        "iterations",
        sa.Column("run_id", sa.Integer, sa.ForeignKey("runs.id"), primary_key=True, autoincrement=False),
        sa.Column("iteration", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("epoch", sa.Double, nullable=False),
        sa.Column("loss", sa.Double),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("cpu_seconds", sa.Double, nullable=False),
        sa.Column("forward_backward", sa.Double, nullable=False),
        sa.Column("curvature", sa.Double, nullable=False),
        sa.Column("inversion", sa.Double, nullable=False),
        sa.Column("update_seconds", sa.Double, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "evaluations",
        sa.Column("run_id", sa.Integer, sa.ForeignKey("runs.id"), primary_key=True, autoincrement=False),
        sa.Column("iteration", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("epoch", sa.Double, nullable=False),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("cpu_seconds", sa.Double, nullable=False),
        sa.Column("train_loss", sa.Double),
        sa.Column("test_loss", sa.Double),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "fisher_errors",
        sa.Column("run_id", sa.Integer, sa.ForeignKey("runs.id"), primary_key=True, autoincrement=False),
        sa.Column("iteration", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("layer", sa.String(255), primary_key=True),
        sa.Column("rank", sa.Integer, nullable=False),
        sa.Column("in_batch", sa.Double),
        sa.Column("held_out", sa.Double),
        sa.Column("best_in_batch", sa.Double),
        sa.Column("best_held_out", sa.Double),
        sqlite_with_rowid=False,
    )
