"""Adjustments: what staff took back or moved of cleared events, and what of each event still counts.

Revision ID: 0018
Revises: 0017
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)
SEQUENCE = "adjustment"


def upgrade() -> None:
    """Make both tables and the sequence that numbers their entries."""
    op.create_table(
        "adjustment",
        sa.Column("adjustment_id", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(4), nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=True),
        sa.Column("subject_id", sa.BigInteger(), nullable=True),
        sa.Column("platform", sa.String(64), nullable=False),
        sa.Column("to_platform", sa.String(64), nullable=True),
        sa.Column("mg", sa.BigInteger(), nullable=False),
        sa.Column("owed_mg", sa.BigInteger(), nullable=False),
        sa.Column("posted_as", sa.String(8), nullable=False),
        sa.Column("source_id", sa.BigInteger(), nullable=False),
        sa.Column("case_id", sa.String(64), nullable=True),
        sa.Column("staff_id", sa.String(32), nullable=False),
        sa.Column("why", sa.String(200), nullable=False),
        sa.Column("window_id", sa.Integer(), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.CheckConstraint("posted_as IN ('reverse', 'adjust', 'draw')", name="ck_adjustment_posted_as"),
        sa.CheckConstraint("mg > 0 AND owed_mg >= 0 AND owed_mg <= mg", name="ck_adjustment_mg"),
        sa.ForeignKeyConstraint(["event_id"], ["event.event_id"]),
        sa.ForeignKeyConstraint(["staff_id"], ["staff.staff_id"]),
        sa.ForeignKeyConstraint(["window_id"], ["clearing_window.window_id"]),
        sa.PrimaryKeyConstraint("adjustment_id"),
    )
    op.create_index("ix_adjustment_event_id", "adjustment", ["event_id"])
    op.create_index("ix_adjustment_subject_id", "adjustment", ["subject_id"])
    op.create_index("ix_adjustment_case_id", "adjustment", ["case_id"])
    op.create_index("ix_adjustment_at", "adjustment", ["at"])
    op.create_table(
        "event_adjusted",
        sa.Column("event_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("taken_mg", sa.BigInteger(), nullable=False),
        sa.Column("platform", sa.String(64), nullable=True),
        sa.CheckConstraint("taken_mg >= 0", name="ck_event_adjusted_mg"),
        sa.ForeignKeyConstraint(["event_id"], ["event.event_id"]),
        sa.PrimaryKeyConstraint("event_id"),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"CREATE SEQUENCE {SEQUENCE}_seq AS BIGINT")
    else:
        op.execute(f"INSERT INTO hub_sequence (name, value) VALUES ('{SEQUENCE}', 0)")


def downgrade() -> None:
    """Take both tables away; their entries stay in the ledger."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"DROP SEQUENCE {SEQUENCE}_seq")
    else:
        op.execute(f"DELETE FROM hub_sequence WHERE name = '{SEQUENCE}'")
    op.drop_table("event_adjusted")
    op.drop_table("adjustment")
