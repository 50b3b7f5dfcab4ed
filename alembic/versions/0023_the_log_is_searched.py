"""What leaves are found by, what is counted at the doors, whose rights software has, and accesses by command.

What leaves that are there already are found by is read from their bytes when the schema is new (hub/migrate.py).

Revision ID: 0023
Revises: 0022
"""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)
SEARCHED = ("participant", "purpose", "outcome", "window_id", "batch_id")
TABLES = ("log_entry", "exchange_count", "exchange_hour", "terminal_access", "staff_client")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "log_entry",
        sa.Column("leaf_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("participant", sa.String(64), nullable=True),
        sa.Column("purpose", sa.String(40), nullable=True),
        sa.Column("outcome", sa.String(40), nullable=True),
        sa.Column("window_id", sa.Integer(), nullable=True),
        sa.Column("batch_id", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("leaf_id"),
    )
    op.create_index("ix_log_entry_at", "log_entry", ["at", "leaf_id"])
    op.create_index("ix_log_entry_kind", "log_entry", ["kind", "at", "leaf_id"])
    known = sa.text("participant IS NOT NULL")
    op.create_index(
        "ix_log_entry_kind_participant", "log_entry", ["kind", "participant", "at", "leaf_id"],
        sqlite_where=known, postgresql_where=known,
    )  # fmt: skip
    for column in SEARCHED:
        given = sa.text(f"{column} IS NOT NULL")
        op.create_index(
            f"ix_log_entry_{column}", "log_entry", [column, "at", "leaf_id"], sqlite_where=given, postgresql_where=given
        )
    _counts()
    op.create_table(
        "terminal_access",
        sa.Column("access_id", sa.String(32), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("what", sa.String(40), nullable=False),
        sa.Column("purpose", sa.String(40), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=True),
        sa.Column("salt_sealed", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("access_id"),
    )
    op.create_table(
        "staff_client",
        sa.Column("client_id", sa.String(64), nullable=False),
        sa.Column("staff_id", sa.String(32), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["client_id"], ["oauth_client.client_id"]),
        sa.ForeignKeyConstraint(["staff_id"], ["staff.staff_id"]),
        sa.PrimaryKeyConstraint("client_id"),
    )
    op.create_index("ix_staff_client_staff_id", "staff_client", ["staff_id"])


def downgrade() -> None:
    """Take them away again; the leaves stay."""
    for table in reversed(TABLES):
        op.drop_table(table)


def _counts() -> None:
    op.create_table(
        "exchange_count",
        sa.Column("hour", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("participant", sa.String(64), nullable=False),
        sa.Column("operation", sa.String(120), nullable=False),
        sa.Column("outcome", sa.String(10), nullable=False),
        sa.Column("reason", sa.String(64), nullable=False),
        sa.Column("up_to_ms", sa.Integer(), autoincrement=False, nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("requests", "sum_us", "bytes_in", "bytes_out")),
        sa.CheckConstraint("requests > 0", name="ck_exchange_count_requests"),
        sa.PrimaryKeyConstraint("hour", "participant", "operation", "outcome", "reason", "up_to_ms"),
    )
    op.create_table(
        "exchange_hour",
        sa.Column("hour", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("participant", sa.String(64), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("told_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("hour", "participant"),
    )
