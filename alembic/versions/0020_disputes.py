"""Disputes, what was written in them, and the grams that they lock.

Revision ID: 0020
Revises: 0019
"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)
LIVE = sa.text("closed_at IS NULL")
LOCKED = sa.text("unlocked_at IS NULL")
SEQUENCE = "dispute_lock"


def upgrade() -> None:
    """Make the three tables and the sequence that numbers locks."""
    _disputes()
    op.create_table(
        "dispute_evidence",
        sa.Column("evidence_id", sa.String(32), nullable=False),
        sa.Column("dispute_id", sa.String(32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("subject_id", sa.BigInteger(), nullable=False),
        sa.Column("side", sa.String(10), nullable=False),
        sa.Column("platform", sa.String(64), nullable=True),
        sa.Column("text_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["dispute_id"], ["dispute.dispute_id"]),
        sa.PrimaryKeyConstraint("evidence_id"),
        sa.UniqueConstraint("dispute_id", "number"),
    )
    op.create_index("ix_dispute_evidence_subject_id", "dispute_evidence", ["subject_id"])
    op.create_table(
        "dispute_lock",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("dispute_id", sa.String(32), nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.Column("window_id", sa.Integer(), nullable=False),
        sa.Column("vintage", sa.Integer(), nullable=False),
        sa.Column("both_mg", sa.BigInteger(), nullable=False),
        sa.Column("incentive_mg", sa.BigInteger(), nullable=False),
        sa.Column("attribute_mg", sa.BigInteger(), nullable=False),
        sa.Column("locked_at", INSTANT, nullable=False),
        sa.Column("unlocked_at", INSTANT, nullable=True),
        sa.CheckConstraint("both_mg >= 0 AND incentive_mg >= 0 AND attribute_mg >= 0", name="ck_dispute_lock_mg"),
        sa.ForeignKeyConstraint(["dispute_id"], ["dispute.dispute_id"]),
        sa.ForeignKeyConstraint(["event_id"], ["event.event_id"]),
        sa.ForeignKeyConstraint(["window_id"], ["clearing_window.window_id"]),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index(
        "uq_dispute_lock_event", "dispute_lock", ["event_id"], unique=True, sqlite_where=LOCKED, postgresql_where=LOCKED
    )
    op.create_index("ix_dispute_lock_dispute", "dispute_lock", ["dispute_id"])
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"CREATE SEQUENCE {SEQUENCE}_seq AS BIGINT")
    else:
        op.execute(f"INSERT INTO hub_sequence (name, value) VALUES ('{SEQUENCE}', 0)")


def downgrade() -> None:
    """Take them away again; only while nothing is locked."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"DROP SEQUENCE {SEQUENCE}_seq")
    else:
        op.execute(f"DELETE FROM hub_sequence WHERE name = '{SEQUENCE}'")
    for table in ("dispute_lock", "dispute_evidence", "dispute"):
        op.drop_table(table)


def _disputes() -> None:
    op.create_table(
        "dispute",
        sa.Column("dispute_id", sa.String(32), nullable=False),
        sa.Column("target", sa.String(10), nullable=False),
        sa.Column("target_key", sa.String(80), nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=True),
        sa.Column("link_id", sa.String(32), nullable=True),
        sa.Column("reservation_id", sa.String(40), nullable=True),
        sa.Column("claimed_mg", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.String(4), nullable=False),
        sa.Column("subject_id", sa.BigInteger(), nullable=False),
        sa.Column("platform", sa.String(64), nullable=False),
        sa.Column("region", sa.String(6), nullable=False),
        sa.Column("opener", sa.String(10), nullable=False),
        sa.Column("opener_platform", sa.String(64), nullable=True),
        sa.Column("opener_staff", sa.String(32), nullable=True),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("steps", sa.Integer(), nullable=False),
        sa.Column("locked_mg", sa.BigInteger(), nullable=False),
        sa.Column("used", sa.Boolean(), nullable=False),
        *(
            sa.Column(f"{name}_at", INSTANT, nullable=False)
            for name in ("opened", "acknowledge_due", "evidence_due", "decision_due")
        ),
        *(
            sa.Column(f"{name}_at", INSTANT, nullable=True)
            for name in ("answer_due", "acknowledged", "review", "closed")
        ),
        sa.Column("decided_by", sa.String(32), nullable=True),
        sa.Column("adjust", sa.String(8), nullable=True),
        sa.Column("adjustments", sa.Integer(), nullable=False),
        sa.Column("why", sa.String(200), nullable=False),
        sa.CheckConstraint(
            "(state IN ('opened', 'evidence', 'review')) = (closed_at IS NULL)", name="ck_dispute_closed"
        ),
        sa.CheckConstraint("(state = 'upheld') = (adjust IS NOT NULL)", name="ck_dispute_adjust"),
        sa.ForeignKeyConstraint(["event_id"], ["event.event_id"]),
        sa.ForeignKeyConstraint(["link_id"], ["link.link_id"]),
        sa.ForeignKeyConstraint(["reservation_id"], ["reservation.reservation_id"]),
        sa.ForeignKeyConstraint(["subject_id"], ["person.subject_id"]),
        sa.ForeignKeyConstraint(["opener_staff"], ["staff.staff_id"]),
        sa.ForeignKeyConstraint(["decided_by"], ["staff.staff_id"]),
        sa.PrimaryKeyConstraint("dispute_id"),
    )
    op.create_index("uq_dispute_live", "dispute", ["target_key"], unique=True, sqlite_where=LIVE, postgresql_where=LIVE)
    for name in ("subject", "platform", "opener_platform"):
        op.create_index(f"ix_dispute_{name}", "dispute", ["subject_id" if name == "subject" else name])
