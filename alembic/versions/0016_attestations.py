"""Attestations, and the status lists that say which of them are revoked.

Revision ID: 0016
Revises: 0015
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "status_list",
        sa.Column("list_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("used", sa.Integer(), nullable=False),
        sa.Column("bits", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("list_id", name="pk_status_list"),
    )
    op.create_table(
        "attestation",
        sa.Column("attestation_id", sa.String(32), nullable=False),
        sa.Column("subject_id", sa.BigInteger(), nullable=False),
        sa.Column("recipient", sa.String(64), nullable=False),
        sa.Column("grant_id", sa.String(32), nullable=True),
        sa.Column("grant_version", sa.Integer(), nullable=True),
        sa.Column("since", sa.Date(), nullable=True),
        sa.Column("until", sa.Date(), nullable=True),
        sa.Column("cleared_mg", sa.BigInteger(), nullable=True),
        sa.Column("final_mg", sa.BigInteger(), nullable=True),
        sa.Column("disclosed", sa.Text(), nullable=False),
        sa.Column("list_id", sa.Integer(), nullable=False),
        sa.Column("list_index", sa.Integer(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("expires_at", INSTANT, nullable=False),
        sa.Column("revoked_at", INSTANT, nullable=True),
        sa.Column("reason", sa.String(24), nullable=True),
        sa.Column("statement_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("request_key", sa.String(64), nullable=True),
        sa.Column("request_digest", sa.String(64), nullable=True),
        sa.ForeignKeyConstraint(["subject_id"], ["person.subject_id"], name="fk_attestation_subject"),
        sa.ForeignKeyConstraint(["list_id"], ["status_list.list_id"], name="fk_attestation_list"),
        sa.PrimaryKeyConstraint("attestation_id", name="pk_attestation"),
        sa.UniqueConstraint("list_id", "list_index", name="uq_attestation_place"),
        sa.UniqueConstraint("recipient", "subject_id", "request_key", name="uq_attestation_request"),
    )
    for name in ("subject_id", "grant_id"):
        op.create_index(f"ix_attestation_{name}", "attestation", [name])


def downgrade() -> None:
    """Take them away again."""
    op.drop_table("attestation")
    op.drop_table("status_list")
