"""The efficiency of the optimizer's own direction by layer; earlier runs have none."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("fisher_errors", sa.Column("efficiency", sa.Double))
