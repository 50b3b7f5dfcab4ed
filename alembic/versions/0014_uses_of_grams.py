"""Grams can be used: rights, balances that cannot go below zero, reservations, debts, and answers kept for repeated requests.

Revision ID: 0014
Revises: 0013
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)
OF_SUBJECT = sa.text("subject_id IS NOT NULL AND platform IS NULL")
OF_SUBJECT_AT = sa.text("subject_id IS NOT NULL AND platform IS NOT NULL")
OF_PLATFORM = sa.text("subject_id IS NULL AND platform IS NOT NULL")
FORMERLY = {"subject_id": sa.text("subject_id IS NOT NULL"), "platform": sa.text("platform IS NOT NULL")}
SEQUENCES = ("reservation",)


def upgrade() -> None:
    """Make the tables, and fill the balances from the postings that there are."""
    op.add_column("posting", sa.Column("rights", sa.String(9), nullable=False, server_default="both"))
    for index in ("uq_account_subject", "uq_account_platform"):
        op.drop_index(index, table_name="account")
    _unique("uq_account_subject", ["subject_id", "kind"], OF_SUBJECT)
    _unique("uq_account_subject_at", ["subject_id", "platform", "kind"], OF_SUBJECT_AT)
    _unique("uq_account_platform", ["platform", "kind"], OF_PLATFORM)
    op.create_table(
        "balance",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("window_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("vintage", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("rights", sa.String(9), nullable=False),
        sa.Column("mg", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("mg >= 0", name="ck_balance_mg"),
        sa.ForeignKeyConstraint(["account_id"], ["account.account_id"]),
        sa.PrimaryKeyConstraint("account_id", "window_id", "vintage", "rights"),
    )
    op.execute(
        "INSERT INTO balance (account_id, window_id, vintage, rights, mg) "
        "SELECT p.account_id, p.window_id, p.vintage, p.rights, SUM(p.mg) FROM posting p JOIN account a "
        "ON a.account_id = p.account_id WHERE a.kind IN ('held', 'forfeited') "
        "GROUP BY p.account_id, p.window_id, p.vintage, p.rights"
    )
    op.create_table(
        "debt",
        sa.Column("entry_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("rights", sa.String(9), nullable=False),
        sa.Column("subject_id", sa.BigInteger(), nullable=False),
        sa.Column("platform", sa.String(64), nullable=False),
        sa.Column("window_id", sa.Integer(), nullable=False),
        sa.Column("vintage", sa.Integer(), nullable=False),
        sa.Column("mg", sa.BigInteger(), nullable=False),
        sa.Column("left_mg", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("left_mg >= 0 AND left_mg <= mg", name="ck_debt_left"),
        sa.ForeignKeyConstraint(["entry_id"], ["journal_entry.entry_id"]),
        sa.PrimaryKeyConstraint("entry_id", "rights"),
    )
    op.create_index("ix_debt_subject_id", "debt", ["subject_id"])
    op.create_index("ix_debt_platform", "debt", ["platform"])
    _reservations()
    op.create_table(
        "answered_request",
        sa.Column("client_id", sa.String(64), nullable=False),
        sa.Column("request_key", sa.String(200), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("client_id", "request_key"),
    )
    op.create_index("ix_answered_request_at", "answered_request", ["at"])
    for name in SEQUENCES:
        if op.get_bind().dialect.name == "postgresql":
            op.execute(f"CREATE SEQUENCE {name}_seq")
        else:
            op.execute(f"INSERT INTO hub_sequence (name, value) VALUES ('{name}', 0)")


def downgrade() -> None:
    """Take everything away again; only while nothing was used."""
    for name in SEQUENCES:
        if op.get_bind().dialect.name == "postgresql":
            op.execute(f"DROP SEQUENCE {name}_seq")
        else:
            op.execute(f"DELETE FROM hub_sequence WHERE name = '{name}'")
    for table in ("answered_request", "reservation_line", "reservation", "debt", "balance"):
        op.drop_table(table)
    op.drop_index("uq_account_subject_at", table_name="account")
    for column, where in FORMERLY.items():
        name = f"uq_account_{column.removesuffix('_id')}"
        op.drop_index(name, table_name="account")
        _unique(name, [column, "kind"], where)
    op.drop_column("posting", "rights")


def _unique(name: str, columns: list[str], where: sa.TextClause) -> None:
    op.create_index(name, "account", columns, unique=True, sqlite_where=where, postgresql_where=where)


def _reservations() -> None:
    op.create_table(
        "reservation",
        sa.Column("reservation_id", sa.String(40), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("participant", sa.String(64), nullable=False),
        sa.Column("client_id", sa.String(64), nullable=False),
        sa.Column("grant_id", sa.String(64), nullable=False),
        sa.Column("subject_id", sa.BigInteger(), nullable=False),
        sa.Column("use", sa.String(10), nullable=False),
        sa.Column("purpose", sa.String(40), nullable=True),
        sa.Column("rules", sa.String(40), nullable=False),
        sa.Column("mg", sa.BigInteger(), nullable=False),
        sa.Column("used_mg", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("expires_at", INSTANT, nullable=False),
        sa.Column("closed_at", INSTANT, nullable=True),
        sa.CheckConstraint("used_mg >= 0 AND used_mg <= mg", name="ck_reservation_used"),
        sa.PrimaryKeyConstraint("reservation_id"),
        sa.UniqueConstraint("number"),
    )
    op.create_index("ix_reservation_subject_id", "reservation", ["subject_id"])
    op.create_index("ix_reservation_due", "reservation", ["state", "expires_at"])
    op.create_table(
        "reservation_line",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("line", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("window_id", sa.Integer(), nullable=False),
        sa.Column("vintage", sa.Integer(), nullable=False),
        sa.Column("rights", sa.String(9), nullable=False),
        sa.Column("mg", sa.BigInteger(), nullable=False),
        sa.Column("used_mg", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("used_mg >= 0 AND used_mg <= mg", name="ck_reservation_line_used"),
        sa.ForeignKeyConstraint(["number"], ["reservation.number"]),
        sa.PrimaryKeyConstraint("number", "line"),
    )
