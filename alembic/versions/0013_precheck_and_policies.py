"""A platform may ask whether an act is claimed already; clearing policies are adopted from a window on.

Revision ID: 0013
Revises: 0012
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)
KEYS = ("event_key", "payment_key")


def upgrade() -> None:
    """Find records by the numbers that they carry; count what is asked; keep adoptions."""
    for key in KEYS:
        told = sa.text(f"{key} IS NOT NULL")
        op.create_index(
            f"ix_reduction_record_{key}", "reduction_record", [key], sqlite_where=told, postgresql_where=told
        )
    op.create_table(
        "precheck_allowance",
        sa.Column("platform", sa.String(64), nullable=False),
        sa.Column("next_at", INSTANT, nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("events", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("platform", name="pk_precheck_allowance"),
    )
    op.create_table(
        "policy_adoption",
        sa.Column("adoption", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("policy", sa.String(40), nullable=False),
        sa.Column("former", sa.String(40), nullable=False),
        sa.Column("first_window", sa.Integer(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("adopted_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("adoption", name="pk_policy_adoption"),
    )


def downgrade() -> None:
    """Take them away again."""
    op.drop_table("policy_adoption")
    op.drop_table("precheck_allowance")
    for key in KEYS:
        op.drop_index(f"ix_reduction_record_{key}", table_name="reduction_record")
