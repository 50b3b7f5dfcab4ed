"""The authorization server: grants say more, refresh tokens, dynamic registration, bound tokens.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)

GRANT_COLUMNS = (
    sa.Column("sensitive", sa.Text(), nullable=False, server_default="[]"),
    sa.Column("frequency", sa.String(16), nullable=False, server_default="always"),
    sa.Column("data_life_days", sa.Integer(), nullable=True),
    sa.Column("purpose_text", sa.Text(), nullable=False, server_default=""),
    sa.Column("client_id", sa.String(64), nullable=True),
    sa.Column("scope", sa.String(400), nullable=False, server_default=""),
    sa.Column("details", sa.Text(), nullable=False, server_default="[]"),
    sa.Column("assurance", sa.String(16), nullable=False, server_default="none"),
)
CLIENT_COLUMNS = (
    sa.Column("management_hash", sa.String(64), nullable=True),
    sa.Column("software_id", sa.String(120), nullable=True),
    sa.Column("shows_certificate", sa.Boolean(), nullable=False, server_default=sa.false()),
)


def upgrade() -> None:
    """Add what a bank-grade client needs."""
    for column in GRANT_COLUMNS:
        op.add_column("grant_version", column.copy())
    op.create_index("ix_grant_version_client_id", "grant_version", ["client_id"])
    for column in CLIENT_COLUMNS:
        op.add_column("oauth_client", column.copy())
    op.add_column("access_token", sa.Column("certificate_thumbprint", sa.String(64), nullable=True))
    op.add_column("access_token", sa.Column("code_hash", sa.String(64), nullable=True))
    op.create_index("ix_access_token_code_hash", "access_token", ["code_hash"])
    op.drop_column("access_token", "authorization_details")
    op.drop_column("authorization_code", "authorization_details")
    op.create_table(
        "refresh_token",
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("client_id", sa.String(64), nullable=False),
        sa.Column("subject_id", sa.BigInteger(), nullable=False),
        sa.Column("grant_id", sa.String(32), nullable=False),
        sa.Column("scope", sa.String(400), nullable=False),
        sa.Column("dpop_jkt", sa.String(64), nullable=True),
        sa.Column("certificate_thumbprint", sa.String(64), nullable=True),
        sa.Column("code_hash", sa.String(64), nullable=True),
        sa.Column("issued_at", INSTANT, nullable=False),
        sa.Column("revoked_at", INSTANT, nullable=True),
        sa.ForeignKeyConstraint(["client_id"], ["oauth_client.client_id"]),
        sa.ForeignKeyConstraint(["subject_id"], ["person.subject_id"]),
        sa.PrimaryKeyConstraint("token_hash"),
    )
    op.create_index("ix_refresh_token_grant_id", "refresh_token", ["grant_id"])
    op.create_index("ix_refresh_token_code_hash", "refresh_token", ["code_hash"])
    op.create_table(
        "disclosure",
        sa.Column("disclosure_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("grant_id", sa.String(32), nullable=False),
        sa.Column("grant_version", sa.Integer(), nullable=False),
        sa.Column("subject_id", sa.BigInteger(), nullable=False),
        sa.Column("recipient", sa.String(64), nullable=False),
        sa.Column("what", sa.String(24), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("disclosure_id"),
    )
    op.create_index("ix_disclosure_grant_id", "disclosure", ["grant_id"])
    op.create_index("ix_disclosure_subject_id", "disclosure", ["subject_id"])
    if op.get_bind().dialect.name == "postgresql":
        op.execute("CREATE SEQUENCE disclosure_seq")
    else:
        op.execute("INSERT INTO hub_sequence (name, value) VALUES ('disclosure', 0)")


def downgrade() -> None:
    """Take it away again."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP SEQUENCE disclosure_seq")
    else:
        op.execute("DELETE FROM hub_sequence WHERE name = 'disclosure'")
    op.drop_table("disclosure")
    op.drop_table("refresh_token")
    op.add_column(
        "authorization_code", sa.Column("authorization_details", sa.Text(), nullable=False, server_default="[]")
    )
    op.add_column("access_token", sa.Column("authorization_details", sa.Text(), nullable=False, server_default="[]"))
    op.drop_index("ix_access_token_code_hash", table_name="access_token")
    op.drop_column("access_token", "code_hash")
    op.drop_column("access_token", "certificate_thumbprint")
    for column in CLIENT_COLUMNS:
        op.drop_column("oauth_client", column.name)
    op.drop_index("ix_grant_version_client_id", table_name="grant_version")
    for column in GRANT_COLUMNS:
        op.drop_column("grant_version", column.name)
