"""What witnesses said of the log, and the keys of final windows' counted events.

Decisions of a window are read in order of record: a proof reads 256 of them, and must not sort the window for it.

Revision ID: 0022
Revises: 0021
"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make the three tables, and let a window's decisions be read in order."""
    op.drop_index("ix_decision_window", table_name="decision")
    op.create_index("ix_decision_window", "decision", ["window_id", "record_id"])
    op.create_table(
        "log_witness",
        sa.Column("key", sa.String(300), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=True),
        sa.Column("line", sa.Text(), nullable=True),
        sa.Column("cosigned_at", INSTANT, nullable=True),
        sa.Column("next_at", INSTANT, nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("problem", sa.String(40), nullable=True),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_table(
        "log_witnessed",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("note", sa.LargeBinary(), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.CheckConstraint("id = 1", name="ck_log_witnessed_single"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "window_event_key",
        sa.Column("event_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("window_id", sa.Integer(), nullable=False),
        sa.Column("token", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["event_id"], ["event.event_id"]),
        sa.ForeignKeyConstraint(["window_id"], ["clearing_window.window_id"]),
        sa.PrimaryKeyConstraint("event_id"),
    )
    op.create_index("ix_window_event_key_token", "window_event_key", ["window_id", "token"])


def downgrade() -> None:
    """Take them away again."""
    for table in ("window_event_key", "log_witnessed", "log_witness"):
        op.drop_table(table)
    op.drop_index("ix_decision_window", table_name="decision")
    op.create_index("ix_decision_window", "decision", ["window_id"])
