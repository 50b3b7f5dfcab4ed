"""A platform may have several feeds, each read in two lanes; how hard it may be asked is kept in one place.

Trips that name nobody are kept beside the records: they confirm what others report.

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)
KEPT = "platform, link_id, cursor, due_at, asked_at, lease_holder, lease_until, failures, last_error, last_success_at"


def upgrade() -> None:
    """Give each state a stream and a lane. The first feed of a platform is known by the empty stream."""
    op.drop_index("ix_sync_state_due_at", table_name="sync_state")
    op.rename_table("sync_state", "sync_state_before")
    _create("sync_state", lanes=True)
    op.execute(
        f"INSERT INTO sync_state ({KEPT}, stream, lane, turn, rows_read) "
        f"SELECT {KEPT}, '', 'feed', 1, 0 FROM sync_state_before"
    )
    op.drop_table("sync_state_before")
    op.create_index("ix_sync_state_lane", "sync_state", ["lane", "turn", "due_at"])
    op.create_index("ix_sync_state_feed", "sync_state", ["platform", "stream", "lane", "turn", "due_at"])
    op.create_index("ix_sync_state_link", "sync_state", ["link_id"])
    op.create_table(
        "platform_pace",
        sa.Column("platform", sa.String(64), nullable=False),
        sa.Column("next_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("platform", name="pk_platform_pace"),
    )
    op.create_table(
        "corroboration",
        sa.Column("platform", sa.String(64), nullable=False),
        sa.Column("stream", sa.String(64), nullable=False),
        sa.Column("event_key", sa.BigInteger(), nullable=False),
        sa.Column("behaviour", sa.String(32), nullable=False),
        sa.Column("start_us", sa.BigInteger(), nullable=False),
        sa.Column("end_us", sa.BigInteger(), nullable=False),
        sa.Column("quantity_micro", sa.BigInteger(), nullable=True),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("batch_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["batch_id"], ["batch.batch_id"]),
        sa.PrimaryKeyConstraint("platform", "stream", "event_key", name="pk_corroboration"),
    )
    op.create_index("ix_corroboration_batch_id", "corroboration", ["batch_id"])


def downgrade() -> None:
    """Keep what the older form can hold: the first feed's states."""
    op.drop_table("corroboration")
    op.drop_table("platform_pace")
    for name in ("ix_sync_state_link", "ix_sync_state_feed", "ix_sync_state_lane"):
        op.drop_index(name, table_name="sync_state")
    op.rename_table("sync_state", "sync_state_before")
    _create("sync_state", lanes=False)
    op.execute(
        f"INSERT INTO sync_state ({KEPT}) SELECT {KEPT} FROM sync_state_before "
        "WHERE stream = '' AND lane = 'feed' AND due_at IS NOT NULL"
    )
    op.drop_table("sync_state_before")
    op.create_index("ix_sync_state_due_at", "sync_state", ["due_at"], unique=False)


def _create(name: str, *, lanes: bool) -> None:
    more = (
        sa.Column("stream", sa.String(32), nullable=False),
        sa.Column("lane", sa.String(8), nullable=False),
        sa.Column("turn", sa.SmallInteger(), nullable=False),
        sa.Column("since", INSTANT, nullable=True),
        sa.Column("until", INSTANT, nullable=True),
        sa.Column("rows_read", sa.BigInteger(), nullable=False),
    )
    key = ["platform", "link_id", "stream", "lane"] if lanes else ["platform", "link_id"]
    op.create_table(
        name,
        sa.Column("platform", sa.String(64), nullable=False),
        sa.Column("link_id", sa.String(32), nullable=False),
        *(more if lanes else ()),
        sa.Column("cursor", sa.LargeBinary(), nullable=True),
        sa.Column("due_at", INSTANT, nullable=lanes),
        sa.Column("asked_at", INSTANT, nullable=True),
        sa.Column("lease_holder", sa.String(64), nullable=True),
        sa.Column("lease_until", INSTANT, nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("last_error", sa.String(200), nullable=True),
        sa.Column("last_success_at", INSTANT, nullable=True),
        # The name that the table before it had would still be taken while both stand side by side.
        sa.PrimaryKeyConstraint(*key, name=f"pk_sync_state_{'lanes' if lanes else 'links'}"),
    )
