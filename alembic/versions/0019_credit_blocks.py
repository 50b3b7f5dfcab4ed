"""Held grams can be pooled into blocks of one tonne, whose shares and income are kept.

Revision ID: 0019
Revises: 0018
"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)
SEQUENCES = ("block",)
BLOCK_MG = 1_000_000_000


def upgrade() -> None:
    """Make the tables."""
    _issuances()
    _blocks()
    op.create_table(
        "block_share",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("line", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("subject_id", sa.BigInteger(), nullable=False),
        sa.Column("window_id", sa.Integer(), nullable=False),
        sa.Column("vintage", sa.Integer(), nullable=False),
        sa.Column("rights", sa.String(9), nullable=False),
        sa.Column("offset_mg", sa.BigInteger(), nullable=False),
        sa.Column("mg", sa.BigInteger(), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.Column("commitment", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint(f"mg > 0 AND offset_mg >= 0 AND offset_mg + mg <= {BLOCK_MG}", name="ck_block_share_mg"),
        sa.ForeignKeyConstraint(["number"], ["credit_block.number"]),
        sa.PrimaryKeyConstraint("number", "line"),
        sa.UniqueConstraint("number", "offset_mg"),
    )
    op.create_index("ix_block_share_subject_id", "block_share", ["subject_id"])
    op.create_table(
        "block_income",
        sa.Column("income_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("reference", sa.String(120), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("told_at", INSTANT, nullable=False),
        sa.CheckConstraint("amount_fen > 0", name="ck_block_income_fen"),
        sa.ForeignKeyConstraint(["number"], ["credit_block.number"]),
        sa.PrimaryKeyConstraint("income_id"),
        sa.UniqueConstraint("number", "reference"),
    )
    op.create_table(
        "block_payout",
        sa.Column("income_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("subject_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("fen", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("fen > 0", name="ck_block_payout_fen"),
        sa.ForeignKeyConstraint(["income_id"], ["block_income.income_id"]),
        sa.PrimaryKeyConstraint("income_id", "subject_id"),
    )
    op.create_index("ix_block_payout_subject_id", "block_payout", ["subject_id"])
    for name in SEQUENCES:
        if op.get_bind().dialect.name == "postgresql":
            op.execute(f"CREATE SEQUENCE {name}_seq")
        else:
            op.execute(f"INSERT INTO hub_sequence (name, value) VALUES ('{name}', 0)")


def _issuances() -> None:
    op.create_table(
        "credit_issuance",
        sa.Column("issuance_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("participant", sa.String(64), nullable=False),
        sa.Column("client_id", sa.String(64), nullable=False),
        sa.Column("vintage_year", sa.Integer(), nullable=False),
        sa.Column("serial_first", sa.BigInteger(), nullable=False),
        sa.Column("serial_last", sa.BigInteger(), nullable=False),
        sa.Column("first_vintage", sa.Integer(), nullable=False),
        sa.Column("last_vintage", sa.Integer(), nullable=False),
        sa.Column("rules", sa.String(40), nullable=False),
        sa.Column("shares_root", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.CheckConstraint("serial_first >= 1 AND serial_last >= serial_first", name="ck_credit_issuance_serials"),
        sa.PrimaryKeyConstraint("issuance_id"),
        sa.UniqueConstraint("participant", "serial_first"),
        sa.UniqueConstraint("participant", "serial_last"),
    )


def _blocks() -> None:
    op.create_table(
        "credit_block",
        sa.Column("block_id", sa.String(40), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("issuance_id", sa.BigInteger(), nullable=False),
        sa.Column("participant", sa.String(64), nullable=False),
        sa.Column("serial", sa.BigInteger(), nullable=False),
        sa.Column("vintage_year", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(14), nullable=False),
        sa.Column("steps", sa.Integer(), nullable=False),
        sa.Column("purpose", sa.String(40), nullable=True),
        sa.Column("beneficiary", sa.String(200), nullable=True),
        sa.Column("reference", sa.String(120), nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("changed_at", INSTANT, nullable=False),
        sa.Column("expires_at", INSTANT, nullable=True),
        sa.Column("retired_at", INSTANT, nullable=True),
        sa.CheckConstraint("state IN ('held', 'frozen', 'pending_offset', 'retired')", name="ck_credit_block_state"),
        sa.CheckConstraint(
            "(state IN ('frozen', 'pending_offset')) = (expires_at IS NOT NULL) "
            "AND (state = 'held') = (purpose IS NULL) AND (state = 'retired') = (retired_at IS NOT NULL) "
            "AND (state = 'retired') = (beneficiary IS NOT NULL)",
            name="ck_credit_block_said",
        ),
        sa.ForeignKeyConstraint(["issuance_id"], ["credit_issuance.issuance_id"]),
        sa.PrimaryKeyConstraint("block_id"),
        sa.UniqueConstraint("number"),
        sa.UniqueConstraint("participant", "serial"),
    )
    op.create_index("ix_credit_block_issuance_id", "credit_block", ["issuance_id"])
    op.create_index("ix_credit_block_due", "credit_block", ["state", "expires_at"])


def downgrade() -> None:
    """Take everything away again; only while nothing was pooled."""
    for name in SEQUENCES:
        if op.get_bind().dialect.name == "postgresql":
            op.execute(f"DROP SEQUENCE {name}_seq")
        else:
            op.execute(f"DELETE FROM hub_sequence WHERE name = '{name}'")
    for table in ("block_payout", "block_income", "block_share", "credit_block", "credit_issuance"):
        op.drop_table(table)
