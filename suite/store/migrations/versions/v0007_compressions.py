"""Networks that are compressed once they are trained, and the views without them: earlier runs have none."""

import sqlalchemy as sa
from alembic import op

from suite.store.migrations.versions.v0005_views import CURVES, LEADERBOARD

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

OF_TRAINING = "runs.compression IS NULL AND runs.id IN"


def upgrade() -> None:
    for view in ("leaderboard", "curves"):
        op.execute(f"DROP VIEW {view}")
    op.add_column("runs", sa.Column("compression", sa.String(255)))
    op.create_table(
        "compressions",
        sa.Column("run_id", sa.Integer, sa.ForeignKey("runs.id"), primary_key=True, autoincrement=False),
        sa.Column("ratio", sa.Double, primary_key=True),
        sa.Column("iteration", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("parameters", sa.Integer, nullable=False),
        sa.Column("train_loss", sa.Double),
        sa.Column("test_loss", sa.Double),
        sqlite_with_rowid=False,
    )
    for view in (CURVES, LEADERBOARD):
        op.execute(view.replace("runs.id IN", OF_TRAINING))
