"""What a reviewer decided about a hold: released or rejected, by whom and why, once.

Revision ID: 0011
Revises: 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table; its key is the held event, so that of two decisions about one hold the second is refused."""
    op.create_table(
        "hold_review",
        sa.Column("event_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("review_id", sa.String(32), nullable=False),
        sa.Column("subject_id", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.String(8), nullable=False),
        sa.Column("rule", sa.String(40), nullable=False),
        sa.Column("reason", sa.String(80), nullable=False),
        sa.Column("staff_id", sa.String(32), nullable=False),
        sa.Column("why", sa.String(200), nullable=False),
        sa.Column("record_id", sa.BigInteger(), nullable=True),
        sa.Column("window_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("(outcome = 'released') = (record_id IS NOT NULL)", name="ck_hold_review_record"),
        sa.CheckConstraint("outcome IN ('released', 'rejected')", name="ck_hold_review_outcome"),
        sa.ForeignKeyConstraint(["event_id"], ["event.event_id"]),
        sa.ForeignKeyConstraint(["record_id"], ["source_record.record_id"]),
        sa.ForeignKeyConstraint(["staff_id"], ["staff.staff_id"]),
        sa.ForeignKeyConstraint(["window_id"], ["clearing_window.window_id"]),
        sa.PrimaryKeyConstraint("event_id"),
        sa.UniqueConstraint("review_id"),
    )
    op.create_index("ix_hold_review_subject_id", "hold_review", ["subject_id"])


def downgrade() -> None:
    """Forget the reviews; what was released stays a version of its record."""
    op.drop_index("ix_hold_review_subject_id", table_name="hold_review")
    op.drop_table("hold_review")
