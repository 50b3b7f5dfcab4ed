"""Passkeys, step-up, staff.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)
PROOF = ("used_at", "proved_at", "proof_method")
SCOPE_RULE = (
    "(role = 'platform' AND participant_id IS NOT NULL AND jurisdiction IS NULL) OR "
    "(role = 'regulator' AND participant_id IS NULL AND jurisdiction IS NOT NULL) OR "
    "(role = 'operator' AND participant_id IS NULL AND jurisdiction IS NULL)"
)


def upgrade() -> None:
    """A session says when and how its person proved themself; passkeys; staff and all they did."""
    op.add_column("web_session", sa.Column("used_at", INSTANT, nullable=True))
    op.add_column("web_session", sa.Column("proved_at", INSTANT, nullable=True))
    op.add_column("web_session", sa.Column("proof_method", sa.String(16), nullable=True))
    _create_staff()
    _create_passkeys()
    _refuse_changes()


def downgrade() -> None:
    """Forget passkeys and staff."""
    for table in ("passkey_challenge", "passkey", "staff_action", "staff_session", "staff_enrolment", "staff"):
        op.drop_table(table)
    for column in PROOF:
        op.drop_column("web_session", column)


def _create_staff() -> None:
    op.create_table(
        "staff",
        sa.Column("staff_id", sa.String(32), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("participant_id", sa.String(64), nullable=True),
        sa.Column("jurisdiction", sa.String(6), nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("disabled_at", INSTANT, nullable=True),
        sa.CheckConstraint(SCOPE_RULE, name="ck_staff_scope"),
        sa.ForeignKeyConstraint(["participant_id"], ["participant.participant_id"]),
        sa.PrimaryKeyConstraint("staff_id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "staff_enrolment",
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("staff_id", sa.String(32), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("expires_at", INSTANT, nullable=False),
        sa.Column("used_at", INSTANT, nullable=True),
        sa.ForeignKeyConstraint(["staff_id"], ["staff.staff_id"]),
        sa.PrimaryKeyConstraint("token_hash"),
    )
    op.create_index("ix_staff_enrolment_staff_id", "staff_enrolment", ["staff_id"])
    op.create_index("ix_staff_enrolment_expires_at", "staff_enrolment", ["expires_at"])
    op.create_table(
        "staff_session",
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("staff_id", sa.String(32), nullable=True),
        sa.Column("csrf", sa.String(64), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("used_at", INSTANT, nullable=False),
        sa.Column("expires_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["staff_id"], ["staff.staff_id"]),
        sa.PrimaryKeyConstraint("token_hash"),
    )
    op.create_index("ix_staff_session_staff_id", "staff_session", ["staff_id"])
    op.create_index("ix_staff_session_expires_at", "staff_session", ["expires_at"])
    op.create_table(
        "staff_action",
        sa.Column("action_id", sa.String(32), nullable=False),
        sa.Column("staff_id", sa.String(32), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("right", sa.String(32), nullable=False),
        sa.Column("what", sa.String(32), nullable=False),
        sa.Column("ids", sa.Text(), nullable=False),
        sa.Column("case_id", sa.String(64), nullable=True),
        sa.ForeignKeyConstraint(["staff_id"], ["staff.staff_id"]),
        sa.PrimaryKeyConstraint("action_id"),
    )
    op.create_index("ix_staff_action_staff", "staff_action", ["staff_id", "at"])
    op.create_index("ix_staff_action_case_id", "staff_action", ["case_id"])


def _create_passkeys() -> None:
    op.create_table(
        "passkey",
        sa.Column("credential_hash", sa.String(64), nullable=False),
        sa.Column("credential_id", sa.LargeBinary(), nullable=False),
        sa.Column("subject_id", sa.BigInteger(), nullable=True),
        sa.Column("staff_id", sa.String(32), nullable=True),
        sa.Column("user_handle", sa.LargeBinary(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("sign_count", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(60), nullable=False),
        sa.Column("transports", sa.Text(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("used_at", INSTANT, nullable=True),
        sa.Column("doubted_at", INSTANT, nullable=True),
        sa.CheckConstraint("(subject_id IS NULL) <> (staff_id IS NULL)", name="ck_passkey_owner"),
        sa.ForeignKeyConstraint(["subject_id"], ["person.subject_id"]),
        sa.PrimaryKeyConstraint("credential_hash"),
    )
    op.create_index("ix_passkey_subject_id", "passkey", ["subject_id"])
    op.create_index("ix_passkey_staff_id", "passkey", ["staff_id"])
    op.create_table(
        "passkey_challenge",
        sa.Column("session_hash", sa.String(64), nullable=False),
        sa.Column("ceremony", sa.String(16), nullable=False),
        sa.Column("challenge", sa.LargeBinary(), nullable=False),
        sa.Column("bound_to", sa.String(80), nullable=False),
        sa.Column("user_handle", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("expires_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("session_hash", "ceremony"),
    )
    op.create_index("ix_passkey_challenge_expires_at", "passkey_challenge", ["expires_at"])


def _refuse_changes() -> None:
    """What staff did is never edited, by them least of all."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE TRIGGER immutable BEFORE UPDATE OR DELETE ON staff_action "
            "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
        return
    for verb in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER staff_action_no_{verb.lower()} BEFORE {verb} ON staff_action "
            "BEGIN SELECT RAISE(ABORT, 'staff_action is append-only'); END"
        )
