"""Receipts, notices, guardians.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Versions of grants say which form they have; from the second on each has a receipt. Children have guardians."""
    op.add_column("grant_version", sa.Column("schema_version", sa.Integer(), nullable=False, server_default="1"))
    op.add_column("person", sa.Column("born_sealed", sa.LargeBinary(), nullable=True))
    op.add_column("person", sa.Column("guarded_until", sa.Date(), nullable=True))
    op.add_column("person", sa.Column("guardian_id", sa.BigInteger(), nullable=True))
    op.create_index("ix_person_guardian_id", "person", ["guardian_id"])
    op.create_table(
        "receipt",
        sa.Column("receipt_id", sa.String(32), nullable=False),
        sa.Column("grant_id", sa.String(32), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("subject_id", sa.BigInteger(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("jws_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["subject_id"], ["person.subject_id"]),
        sa.PrimaryKeyConstraint("receipt_id"),
    )
    op.create_index("uq_receipt_version", "receipt", ["grant_id", "version"], unique=True)
    op.create_index("ix_receipt_subject_id", "receipt", ["subject_id"])


def downgrade() -> None:
    """Take receipts and guardians away again."""
    op.drop_table("receipt")
    op.drop_index("ix_person_guardian_id", table_name="person")
    for column in ("guardian_id", "guarded_until", "born_sealed"):
        op.drop_column("person", column)
    op.drop_column("grant_version", "schema_version")
