"""A batch says where its rows came from: a platform, the hub's own asking, or the quarantine.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; what the hub fetched so far is known from the leaves."""
    op.add_column("batch", sa.Column("origin", sa.String(8), nullable=False, server_default="received"))
    op.execute(
        "UPDATE batch SET origin = 'fetched' WHERE CAST(batch_id AS VARCHAR(20)) IN "
        "(SELECT reference FROM change_leaf WHERE kind = 'batch.fetched')"
    )
    op.create_index("ix_quarantined_state", "quarantined", ["platform", "state", "quarantine_id"])


def downgrade() -> None:
    """Forget the origin."""
    op.drop_index("ix_quarantined_state", table_name="quarantined")
    op.drop_column("batch", "origin")
