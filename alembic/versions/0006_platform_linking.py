"""Linking over PAR and DPoP: pinned endpoints, the context of a linking, and a durable place for tokens to give back.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add them; tokens of links that ended before are due at once. A linking under way has no context and is refused."""
    op.create_table(
        "platform_pin",
        sa.Column("platform", sa.String(64), primary_key=True),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("endpoints", sa.Text(), nullable=False),
        sa.Column("pinned_at", INSTANT, nullable=False),
    )
    op.add_column("link_attempt", sa.Column("context", sa.String(64), nullable=False, server_default=""))
    op.add_column("link", sa.Column("give_back_at", INSTANT, nullable=True))
    op.add_column("link", sa.Column("give_back_tries", sa.Integer(), nullable=False, server_default="0"))
    op.execute("UPDATE link SET give_back_at = valid_until WHERE state = 'revoked' AND token_sealed IS NOT NULL")
    waiting = sa.text("give_back_at IS NOT NULL")
    op.create_index("ix_link_give_back", "link", ["give_back_at"], sqlite_where=waiting, postgresql_where=waiting)


def downgrade() -> None:
    """Forget them; what waits to be given back is found by its sealed token again."""
    op.drop_index("ix_link_give_back", table_name="link")
    op.drop_column("link", "give_back_tries")
    op.drop_column("link", "give_back_at")
    op.drop_column("link_attempt", "context")
    op.drop_table("platform_pin")
