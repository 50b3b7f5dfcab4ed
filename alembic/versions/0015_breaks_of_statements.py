"""Statements by count, sum and digest of each stream, and breaks as rows of their own.

Revision ID: 0015
Revises: 0014
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)
LIVE = sa.text("closed_at IS NULL")
OF_RECORD = sa.text("record_id IS NOT NULL")
SEQUENCE = "break"


def upgrade() -> None:
    """Make both tables and the sequence that numbers breaks."""
    op.create_table(
        "stream_reconciliation",
        sa.Column("window_id", sa.Integer(), nullable=False),
        sa.Column("platform", sa.String(64), nullable=False),
        sa.Column("stream", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("ours_count", sa.BigInteger(), nullable=False),
        sa.Column("ours_mg", sa.BigInteger(), nullable=False),
        sa.Column("ours_digest", sa.LargeBinary(), nullable=True),
        sa.Column("theirs_count", sa.BigInteger(), nullable=False),
        sa.Column("theirs_mg", sa.BigInteger(), nullable=False),
        sa.Column("theirs_digest", sa.LargeBinary(), nullable=True),
        sa.Column("same_digest", sa.Boolean(), nullable=False),
        sa.Column("matched_count", sa.BigInteger(), nullable=True),
        sa.Column("matched_mg", sa.BigInteger(), nullable=True),
        sa.Column("numbered", sa.Boolean(), nullable=False),
        sa.Column("comparison", sa.String(120), nullable=False),
        sa.Column("compared_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["window_id"], ["clearing_window.window_id"]),
        sa.PrimaryKeyConstraint("window_id", "platform", "stream"),
    )
    op.create_table(
        "statement_break",
        sa.Column("break_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("window_id", sa.Integer(), nullable=False),
        sa.Column("platform", sa.String(64), nullable=False),
        sa.Column("stream", sa.String(64), nullable=False),
        sa.Column("record_id", sa.BigInteger(), nullable=True),
        sa.Column("source_id", sa.String(32), nullable=True),
        sa.Column("source_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("delivery_id", sa.String(200), nullable=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("ours", sa.BigInteger(), nullable=True),
        sa.Column("theirs", sa.BigInteger(), nullable=True),
        sa.Column("mg", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.String(8), nullable=False),
        sa.Column("proposal", sa.String(40), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("steps", sa.Integer(), nullable=False),
        sa.Column("note", sa.String(200), nullable=False),
        sa.Column("proposed_by", sa.String(80), nullable=True),
        sa.Column("proposed_at", INSTANT, nullable=True),
        sa.Column("platform_signed_by", sa.String(80), nullable=True),
        sa.Column("platform_signed_at", INSTANT, nullable=True),
        sa.Column("hub_signed_by", sa.String(80), nullable=True),
        sa.Column("hub_signed_at", INSTANT, nullable=True),
        sa.Column("opened_at", INSTANT, nullable=False),
        sa.Column("opened_by", sa.String(120), nullable=False),
        sa.Column("closed_at", INSTANT, nullable=True),
        sa.Column("closed_by", sa.String(120), nullable=True),
        sa.Column("closed_why", sa.String(8), nullable=True),
        sa.CheckConstraint("(state = 'closed') = (closed_at IS NOT NULL)", name="ck_statement_break_closed"),
        sa.ForeignKeyConstraint(["window_id"], ["clearing_window.window_id"]),
        sa.ForeignKeyConstraint(["record_id"], ["source_record.record_id"]),
        sa.PrimaryKeyConstraint("break_id"),
    )
    op.create_index("ix_statement_break_place", "statement_break", ["window_id", "platform", "stream"])
    op.create_index(
        "ix_statement_break_live", "statement_break", ["platform"], sqlite_where=LIVE, postgresql_where=LIVE
    )
    op.create_index(
        "ix_statement_break_record", "statement_break", ["record_id"],
        sqlite_where=OF_RECORD, postgresql_where=OF_RECORD,
    )  # fmt: skip
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"CREATE SEQUENCE {SEQUENCE}_seq AS BIGINT")
    else:
        op.execute(f"INSERT INTO hub_sequence (name, value) VALUES ('{SEQUENCE}', 0)")


def downgrade() -> None:
    """Forget both; deliveries are compared as before."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"DROP SEQUENCE {SEQUENCE}_seq")
    else:
        op.execute(f"DELETE FROM hub_sequence WHERE name = '{SEQUENCE}'")
    for index in ("ix_statement_break_record", "ix_statement_break_live", "ix_statement_break_place"):
        op.drop_index(index, table_name="statement_break")
    op.drop_table("statement_break")
    op.drop_table("stream_reconciliation")
