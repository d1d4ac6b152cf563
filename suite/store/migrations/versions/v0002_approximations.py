"""Fisher errors of several approximations in one run: which one a row is of, and the error of its spectrum.

SQLite changes no primary key in place: the table is copied. Every row of old is of the optimizer's own approximation,
whose name is the run's method.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    new = op.create_table(
        "fisher_errors_0002",
        sa.Column("run_id", sa.Integer, sa.ForeignKey("runs.id"), primary_key=True, autoincrement=False),
        sa.Column("iteration", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("layer", sa.String(255), primary_key=True),
        sa.Column("approximation", sa.String(32), primary_key=True),
        sa.Column("own", sa.Boolean, primary_key=True),
        sa.Column("rank", sa.Integer),
        sa.Column("in_batch", sa.Double),
        sa.Column("held_out", sa.Double),
        sa.Column("best_in_batch", sa.Double),
        sa.Column("best_held_out", sa.Double),
        sa.Column("spectrum", sa.Double),
        sqlite_with_rowid=False,
    )
    kept = ("run_id", "iteration", "layer", "rank", "in_batch", "held_out", "best_in_batch", "best_held_out")
    old = sa.table("fisher_errors", *map(sa.column, kept))
    runs = sa.table("runs", sa.column("id"), sa.column("definition", sa.JSON))
    method = runs.c.definition[("method", "method")].as_string()
    rows = sa.select(*old.c, method, sa.true()).join_from(old, runs, runs.c.id == old.c.run_id)
    op.execute(new.insert().from_select([*kept, "approximation", "own"], rows))
    op.drop_table("fisher_errors")
    op.rename_table("fisher_errors_0002", "fisher_errors")
