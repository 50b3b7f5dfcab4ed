"""Programmes that people join, and totals by region, programme, behaviour and period.

Revision ID: 0017
Revises: 0016
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)
STANDING = sa.text("left_at IS NULL AND subject_id IS NOT NULL")


def upgrade() -> None:
    """Make the tables."""
    _programmes()
    op.create_table(
        "total_release",
        sa.Column("release_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("facts", sa.String(12), nullable=False),
        sa.Column("month", sa.Integer(), nullable=False),
        sa.Column("first_window", sa.Integer(), nullable=False),
        sa.Column("last_window", sa.Integer(), nullable=False),
        sa.Column("k", sa.Integer(), nullable=False),
        sa.Column("p_percent", sa.Integer(), nullable=False),
        sa.Column("cells", sa.Integer(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("told_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["last_window"], ["clearing_window.window_id"]),
        sa.PrimaryKeyConstraint("release_id"),
        sa.UniqueConstraint("facts", "month", "first_window"),
    )
    op.create_index("ix_total_release_month", "total_release", ["month"])
    op.create_table(
        "total_cell",
        sa.Column("release_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("cell", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("programme", sa.String(32), nullable=True),
        *_labels(),
        sa.Column("people", sa.Integer(), nullable=False),
        sa.Column("acts", sa.BigInteger(), nullable=False),
        sa.Column("mg", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["release_id"], ["total_release.release_id"]),
        sa.PrimaryKeyConstraint("release_id", "cell"),
    )
    op.create_table(
        "total_people",
        sa.Column("month", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("line", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("scope", sa.String(32), nullable=True),
        sa.Column("split_by", sa.String(64), nullable=False),
        *_labels(),
        sa.Column("people", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("month", "line"),
    )
    op.create_table(
        "total_waiting",
        sa.Column("facts", sa.String(12), nullable=False),
        sa.Column("month", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("first_window", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("facts", "month"),
    )
    op.create_table(
        "total_progress",
        sa.Column("name", sa.String(8), nullable=False),
        sa.Column("window_id", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )


def _programmes() -> None:
    op.create_table(
        "programme",
        sa.Column("programme_id", sa.String(32), nullable=False),
        sa.Column("participant_id", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("name_zh", sa.String(60), nullable=False),
        sa.Column("name_en", sa.String(60), nullable=False),
        sa.Column("since", sa.Date(), nullable=False),
        sa.Column("until", sa.Date(), nullable=False),
        sa.Column("regions", sa.Text(), nullable=False),
        sa.Column("behaviours", sa.Text(), nullable=False),
        sa.Column("own_file", sa.Boolean(), nullable=False),
        sa.Column("rules_digest", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("closed_at", INSTANT, nullable=True),
        sa.Column("closed_after", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["participant_id"], ["participant.participant_id"]),
        sa.PrimaryKeyConstraint("programme_id"),
    )
    op.create_index("ix_programme_participant_id", "programme", ["participant_id"])
    op.create_table(
        "programme_membership",
        sa.Column("membership_id", sa.String(32), nullable=False),
        sa.Column("programme_id", sa.String(32), nullable=False),
        sa.Column("subject_id", sa.BigInteger(), nullable=True),
        sa.Column("joined_at", INSTANT, nullable=False),
        sa.Column("joined_after", sa.Integer(), nullable=False),
        sa.Column("left_at", INSTANT, nullable=True),
        sa.Column("left_after", sa.Integer(), nullable=True),
        sa.CheckConstraint("(left_at IS NULL) = (left_after IS NULL)", name="ck_membership_left"),
        sa.ForeignKeyConstraint(["programme_id"], ["programme.programme_id"]),
        sa.PrimaryKeyConstraint("membership_id"),
    )
    op.create_index("ix_programme_membership_subject_id", "programme_membership", ["subject_id"])
    op.create_index(
        "uq_membership_standing", "programme_membership", ["programme_id", "subject_id"], unique=True,
        sqlite_where=STANDING, postgresql_where=STANDING,
    )  # fmt: skip


def _labels() -> list[sa.Column[object]]:
    return [
        sa.Column("province", sa.Integer(), nullable=True),
        sa.Column("city", sa.Integer(), nullable=True),
        sa.Column("category", sa.String(16), nullable=True),
        sa.Column("behaviour", sa.String(32), nullable=True),
        sa.Column("day", sa.Integer(), nullable=True),
    ]


def downgrade() -> None:
    """Forget who joined what, and what was told."""
    for table in (
        "total_progress", "total_waiting", "total_people", "total_cell", "total_release", "programme_membership",
        "programme",
    ):  # fmt: skip
        op.drop_table(table)
