"""One run of a cell at work at a time, by an index; numbers that need eight bytes have them on every database.

Stores of old may hold several running runs of a cell, left behind by processes that died: the newest keeps its status.
"""

import sqlalchemy as sa
from alembic import op

from suite.store.migrations.versions.v0005_views import CURVES, LEADERBOARD

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    names = ("id", "cell_key", "fingerprint", "status", "ended_at", "heartbeat_at")
    runs = sa.table("runs", *map(sa.column, names))
    running = runs.c.status == "running"
    newest = sa.select(sa.func.max(runs.c.id)).where(running).group_by(runs.c.cell_key, runs.c.fingerprint)
    left_behind = runs.update().where(running, runs.c.id.not_in(newest))
    op.execute(left_behind.values(status="interrupted", ended_at=runs.c.heartbeat_at))
    at_work = sa.text("status = 'running'")
    op.create_index(
        "runs_at_work",
        "runs",
        ["cell_key", "fingerprint"],
        unique=True,
        sqlite_where=at_work,
        postgresql_where=at_work,
    )
    if op.get_bind().dialect.name != "sqlite":  # whose integers have eight bytes anyway
        for view in ("leaderboard", "curves"):
            op.execute(f"DROP VIEW {view}")
        op.alter_column("environments", "memory_bytes", type_=sa.BigInteger)
        op.alter_column("runs", "peak_memory_bytes", type_=sa.BigInteger)
        op.alter_column("runs", "seed", type_=sa.BigInteger)
        op.execute(CURVES)
        op.execute(LEADERBOARD)
