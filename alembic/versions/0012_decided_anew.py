"""A record may be decided again in a later window, when the event it was part of is taken back; one version stands.

What a window taught about platforms is kept. Shared rides are found by their key.

The index of identities goes: the unique one over identity and content begins with the same columns.

Revision ID: 0012
Revises: 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

COLUMNS = (
    "record_id, window_id, subject_id, event_id, verdict, rule, reason, counted_mg, canonical_record_id, policy, "
    "provisional"
)
INDEXES = {"ix_decision_event": "event_id", "ix_decision_subject": "subject_id", "ix_decision_window": "window_id"}
SUPERSEDED, STANDING = sa.text("superseded_by IS NOT NULL"), sa.text("superseded_by IS NULL")
SHARED = sa.text("behaviour = 'MOB-CARPOOL'")


def upgrade() -> None:
    """Key decisions by record and window; find what a window superseded; let the database keep one version standing."""
    if op.get_bind().dialect.name == "postgresql":
        op.drop_constraint("decision_pkey", "decision", type_="primary")
        op.create_primary_key("decision_pkey", "decision", ["record_id", "window_id"])
    else:
        _rebuild(["record_id", "window_id"], where="1 = 1")
    op.add_column("event_reversal", sa.Column("decided_anew", sa.Integer(), nullable=True))
    op.create_index(
        "ix_source_record_superseded", "source_record", ["superseded_by"],
        sqlite_where=SUPERSEDED, postgresql_where=SUPERSEDED,
    )  # fmt: skip
    op.create_index(
        "uq_source_record_standing", "source_record", ["platform", "stream", "source_id"], unique=True,
        sqlite_where=STANDING, postgresql_where=STANDING,
    )  # fmt: skip
    op.drop_index("ix_source_record_identity", table_name="source_record")
    op.create_index(
        "ix_reduction_record_shared", "reduction_record", ["event_key"], sqlite_where=SHARED, postgresql_where=SHARED
    )
    op.create_table(
        "window_learning",
        sa.Column("window_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("counts", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["window_id"], ["clearing_window.window_id"]),
        sa.PrimaryKeyConstraint("window_id"),
    )


def downgrade() -> None:
    """Keep the newest decision of each record: the older form has room for one."""
    op.drop_table("window_learning")
    op.drop_index("ix_reduction_record_shared", table_name="reduction_record")
    op.create_index("ix_source_record_identity", "source_record", ["platform", "stream", "source_id"])
    op.drop_index("uq_source_record_standing", table_name="source_record")
    op.drop_index("ix_source_record_superseded", table_name="source_record")
    op.drop_column("event_reversal", "decided_anew")
    newest = "NOT EXISTS (SELECT 1 FROM decision n WHERE n.record_id = decision.record_id AND n.window_id > decision.window_id)"
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"DELETE FROM decision WHERE NOT ({newest})")
        op.drop_constraint("decision_pkey", "decision", type_="primary")
        op.create_primary_key("decision_pkey", "decision", ["record_id"])
    else:
        _rebuild(["record_id"], where=newest)


def _rebuild(key: list[str], *, where: str) -> None:
    """SQLite cannot change a key: the rows move to a new table."""
    op.create_table(
        "decision_anew",
        sa.Column("record_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("window_id", sa.Integer(), nullable=False),
        sa.Column("subject_id", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=True),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("rule", sa.String(40), nullable=False),
        sa.Column("reason", sa.String(80), nullable=False),
        sa.Column("counted_mg", sa.BigInteger(), nullable=False),
        sa.Column("canonical_record_id", sa.BigInteger(), nullable=True),
        sa.Column("policy", sa.String(40), nullable=False),
        sa.Column("provisional", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["record_id"], ["source_record.record_id"]),
        sa.ForeignKeyConstraint(["window_id"], ["clearing_window.window_id"]),
        sa.PrimaryKeyConstraint(*key),
    )
    op.execute(f"INSERT INTO decision_anew ({COLUMNS}) SELECT {COLUMNS} FROM decision WHERE {where}")
    op.drop_table("decision")
    op.rename_table("decision_anew", "decision")
    for name, column in INDEXES.items():
        op.create_index(name, "decision", [column])
