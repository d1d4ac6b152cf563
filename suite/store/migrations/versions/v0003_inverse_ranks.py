"""Ranks of the damped inverses by layer; earlier runs have none."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "inverse_ranks",
        sa.Column("run_id", sa.Integer, sa.ForeignKey("runs.id"), primary_key=True, autoincrement=False),
        sa.Column("iteration", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("layer", sa.String(255), primary_key=True),
        sa.Column("inputs", sa.Integer, nullable=False),
        sa.Column("outputs", sa.Integer, nullable=False),
        sa.Column("width_in", sa.Integer, nullable=False),
        sa.Column("width_out", sa.Integer, nullable=False),
        sa.Column("bound", sa.Double),
        sqlite_with_rowid=False,
    )
