"""Postings are placed by one look at all rows of a statement on PostgreSQL; entries that reverse have an index of their own.

A foreign key is asked for every row by itself: three of them took more than half of the time of posting. One trigger asks the
same once for all rows that a statement brought. Entries are never deleted (0001), nor are windows and accounts.

Revision ID: 0021
Revises: 0020
"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

KEYS = {
    "posting": {"entry_id": "journal_entry", "account_id": "account", "window_id": "clearing_window"},
    "journal_entry": {"window_id": "clearing_window"},
}
REVERSING = sa.text("reverses IS NOT NULL")


def upgrade() -> None:
    """Ask for all rows of a statement at once."""
    op.drop_index("ix_entry_reverses", table_name="journal_entry")
    op.create_index(
        "ix_entry_reverses", "journal_entry", ["reverses"], sqlite_where=REVERSING, postgresql_where=REVERSING
    )
    if op.get_bind().dialect.name != "postgresql":
        return
    for table, keys in KEYS.items():
        missing = " UNION ALL ".join(
            f"SELECT '{column}' FROM (SELECT DISTINCT {column} AS one FROM placed) n "
            f"WHERE NOT EXISTS (SELECT 1 FROM {target} t WHERE t.{column} = n.one)"
            for column, target in keys.items()
        )
        op.execute(
            f"CREATE FUNCTION refuse_unplaced_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE lost text; BEGIN "
            f"SELECT * INTO lost FROM ({missing}) x LIMIT 1; IF lost IS NOT NULL THEN "
            f"RAISE EXCEPTION '{table} names % that there is not', lost USING ERRCODE = 'foreign_key_violation'; END IF; "
            "RETURN NULL; END $$"
        )
        op.execute(
            f"CREATE TRIGGER placed AFTER INSERT ON {table} REFERENCING NEW TABLE AS placed "
            f"FOR EACH STATEMENT EXECUTE FUNCTION refuse_unplaced_{table}()"
        )
        for column in keys:
            op.drop_constraint(f"{table}_{column}_fkey", table, type_="foreignkey")


def downgrade() -> None:
    """Ask for each row again."""
    op.drop_index("ix_entry_reverses", table_name="journal_entry")
    op.create_index("ix_entry_reverses", "journal_entry", ["reverses"])
    if op.get_bind().dialect.name != "postgresql":
        return
    for table, keys in KEYS.items():
        op.execute(f"DROP TRIGGER placed ON {table}")
        op.execute(f"DROP FUNCTION refuse_unplaced_{table}()")
        for column, target in keys.items():
            op.create_foreign_key(f"{table}_{column}_fkey", table, target, [column], [column])
