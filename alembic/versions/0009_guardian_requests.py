"""What clients ask of children is put to their guardians.

Revision ID: 0009
Revises: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)
WAITING = sa.text("decided_at IS NULL")


def upgrade() -> None:
    """Add requests to guardians."""
    op.create_table(
        "guardian_request",
        sa.Column("request_id", sa.String(32), nullable=False),
        sa.Column("subject_id", sa.BigInteger(), nullable=False),
        sa.Column("client_id", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("asked", sa.Text(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("expires_at", INSTANT, nullable=True),
        sa.Column("guardian_id", sa.BigInteger(), nullable=True),
        sa.Column("decided_at", INSTANT, nullable=True),
        sa.Column("answer", sa.String(16), nullable=True),
        sa.Column("agreed", sa.Text(), nullable=False),
        sa.Column("used_at", INSTANT, nullable=True),
        sa.Column("grant_id", sa.String(32), nullable=True),
        sa.Column("grant_version", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["subject_id"], ["person.subject_id"]),
        sa.ForeignKeyConstraint(["client_id"], ["oauth_client.client_id"]),
        sa.PrimaryKeyConstraint("request_id"),
    )
    for column in ("subject_id", "expires_at", "grant_id"):
        op.create_index(f"ix_guardian_request_{column}", "guardian_request", [column])
    op.create_index(
        "uq_guardian_request_waiting", "guardian_request", ["subject_id", "client_id"], unique=True,
        sqlite_where=WAITING, postgresql_where=WAITING,
    )  # fmt: skip


def downgrade() -> None:
    """Take them away again."""
    op.drop_table("guardian_request")
