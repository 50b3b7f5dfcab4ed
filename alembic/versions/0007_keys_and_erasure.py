"""Rotation of keys, erasure, the spent set.

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what is kept of erased people's records, and which key names new ones."""
    op.create_table(
        "spent_record",
        sa.Column("token", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("token"),
    )
    op.create_table(
        "key_use",
        sa.Column("purpose", sa.String(32), nullable=False),
        sa.Column("key_id", sa.String(40), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("purpose"),
    )


def downgrade() -> None:
    """Forget both: records of erased people would count again, and renamed ones would not be recognised."""
    op.drop_table("key_use")
    op.drop_table("spent_record")
