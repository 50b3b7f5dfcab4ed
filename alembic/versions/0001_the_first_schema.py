"""The first schema: people and consent, records, clearing, ledger, log, sync."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

INSTANT = sa.DateTime(timezone=True)
SEQUENCES = ("record", "batch", "quarantine", "entry", "account")
IMMUTABLE = ("journal_entry", "posting", "grant_version", "event_reversal")


def upgrade() -> None:
    op.create_table(
        "account",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("subject_id", sa.BigInteger(), nullable=True),
        sa.Column("platform", sa.String(64), nullable=True),
        sa.PrimaryKeyConstraint("account_id"),
    )
    op.create_index(
        "uq_account_platform",
        "account",
        ["platform", "kind"],
        unique=True,
        sqlite_where=sa.text("platform IS NOT NULL"),
        postgresql_where=sa.text("platform IS NOT NULL"),
    )
    op.create_index(
        "uq_account_subject",
        "account",
        ["subject_id", "kind"],
        unique=True,
        sqlite_where=sa.text("subject_id IS NOT NULL"),
        postgresql_where=sa.text("subject_id IS NOT NULL"),
    )
    op.create_table(
        "change_leaf",
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("reference", sa.String(240), nullable=False),
        sa.Column("leaf_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "reference"),
    )
    op.create_index("ix_change_leaf_leaf_id", "change_leaf", ["leaf_id"], unique=False)
    op.create_table(
        "clearing_window",
        sa.Column("window_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("first_seq", sa.BigInteger(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=True),
        sa.Column("opened_at", INSTANT, nullable=False),
        sa.Column("sealed_at", INSTANT, nullable=True),
        sa.Column("groups", sa.Integer(), nullable=True),
        sa.Column("groups_cleared", sa.Integer(), nullable=False),
        sa.Column("cleared_at", INSTANT, nullable=True),
        sa.Column("provisional_at", INSTANT, nullable=True),
        sa.Column("final_at", INSTANT, nullable=True),
        sa.Column("manifest", sa.Text(), nullable=True),
        sa.Column("root", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("window_id"),
    )
    op.create_index(
        "uq_open_window",
        "clearing_window",
        ["state"],
        unique=True,
        sqlite_where=sa.text("state = 'open'"),
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_table(
        "dirty_subject",
        sa.Column("subject_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("marks", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("subject_id"),
    )
    op.create_table(
        "grant_terms",
        sa.Column("terms_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("purposes", sa.Text(), nullable=False),
        sa.Column("behaviours", sa.Text(), nullable=False),
        sa.Column("platforms", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("terms_id"),
    )
    op.create_table(
        "hub_sequence",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "log_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sequenced", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("frontier", sa.LargeBinary(), nullable=False),
        sa.Column("checkpoint", sa.LargeBinary(), nullable=True),
        sa.Column("signed_at", INSTANT, nullable=True),
        sa.CheckConstraint("id = 1", name="ck_log_head_single"),
        sa.CheckConstraint("sequenced >= size", name="ck_log_head_sequenced"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "log_leaf",
        sa.Column("leaf_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("first_index", sa.BigInteger(), nullable=True),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.CheckConstraint("count > 0", name="ck_log_leaf_count"),
        sa.PrimaryKeyConstraint("leaf_id"),
        sa.UniqueConstraint("first_index"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_log_leaf_waiting",
        "log_leaf",
        ["leaf_id"],
        unique=False,
        sqlite_where=sa.text("first_index IS NULL"),
        postgresql_where=sa.text("first_index IS NULL"),
    )
    op.create_table(
        "log_tile",
        sa.Column("level", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("n", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("level", "n"),
    )
    op.create_table(
        "oauth_client",
        sa.Column("client_id", sa.String(64), nullable=False),
        sa.Column("participant", sa.String(64), nullable=True),
        sa.Column("client_name", sa.String(120), nullable=False),
        sa.Column("scope", sa.String(400), nullable=False),
        sa.Column("grant_types", sa.Text(), nullable=False),
        sa.Column("redirect_uris", sa.Text(), nullable=False),
        sa.Column("jwks", sa.Text(), nullable=False),
        sa.Column("registration", sa.Text(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("suspended_at", INSTANT, nullable=True),
        sa.PrimaryKeyConstraint("client_id"),
    )
    op.create_index("ix_oauth_client_participant", "oauth_client", ["participant"], unique=False)
    op.create_table(
        "participant",
        sa.Column("participant_id", sa.String(64), nullable=False),
        sa.Column("name_zh", sa.String(120), nullable=False),
        sa.Column("name_en", sa.String(120), nullable=False),
        sa.Column("kind", sa.String(24), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("configuration", sa.LargeBinary(), nullable=False),
        sa.Column("configuration_digest", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("participant_id"),
    )
    op.create_table(
        "person",
        sa.Column("subject_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("username", sa.String(64), nullable=True),
        sa.Column("password_hash", sa.String(255), nullable=True),
        sa.Column("display_name", sa.String(120), nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("data_key", sa.LargeBinary(), nullable=True),
        sa.Column("kek_id", sa.String(32), nullable=True),
        sa.Column("erased_at", INSTANT, nullable=True),
        sa.PrimaryKeyConstraint("subject_id"),
        sa.UniqueConstraint("username"),
    )
    op.create_index("ix_person_kek_id", "person", ["kek_id"], unique=False)
    op.create_table(
        "sign_in_throttle",
        sa.Column("name_hash", sa.String(64), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("blocked_until", INSTANT, nullable=True),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("name_hash"),
    )
    op.create_index("ix_sign_in_throttle_updated_at", "sign_in_throttle", ["updated_at"], unique=False)
    op.create_table(
        "sync_state",
        sa.Column("platform", sa.String(64), nullable=False),
        sa.Column("link_id", sa.String(32), nullable=False),
        sa.Column("cursor", sa.LargeBinary(), nullable=True),
        sa.Column("due_at", INSTANT, nullable=False),
        sa.Column("asked_at", INSTANT, nullable=True),
        sa.Column("lease_holder", sa.String(64), nullable=True),
        sa.Column("lease_until", INSTANT, nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("last_error", sa.String(200), nullable=True),
        sa.Column("last_success_at", INSTANT, nullable=True),
        sa.PrimaryKeyConstraint("platform", "link_id"),
    )
    op.create_index("ix_sync_state_due_at", "sync_state", ["due_at"], unique=False)
    op.create_table(
        "used_jti",
        sa.Column("issuer", sa.String(80), nullable=False),
        sa.Column("jti_hash", sa.String(64), nullable=False),
        sa.Column("expires_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("issuer", "jti_hash"),
    )
    op.create_index("ix_used_jti_expires_at", "used_jti", ["expires_at"], unique=False)
    op.create_table(
        "access_token",
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("client_id", sa.String(64), nullable=False),
        sa.Column("subject_id", sa.BigInteger(), nullable=True),
        sa.Column("grant_id", sa.String(32), nullable=True),
        sa.Column("scope", sa.String(400), nullable=False),
        sa.Column("authorization_details", sa.Text(), nullable=False),
        sa.Column("dpop_jkt", sa.String(64), nullable=True),
        sa.Column("issued_at", INSTANT, nullable=False),
        sa.Column("expires_at", INSTANT, nullable=False),
        sa.Column("revoked_at", INSTANT, nullable=True),
        sa.ForeignKeyConstraint(
            ["client_id"],
            ["oauth_client.client_id"],
        ),
        sa.ForeignKeyConstraint(
            ["subject_id"],
            ["person.subject_id"],
        ),
        sa.PrimaryKeyConstraint("token_hash"),
    )
    op.create_index("ix_access_token_client_id", "access_token", ["client_id"], unique=False)
    op.create_index("ix_access_token_expires_at", "access_token", ["expires_at"], unique=False)
    op.create_index("ix_access_token_grant_id", "access_token", ["grant_id"], unique=False)
    op.create_table(
        "authorization_code",
        sa.Column("code_hash", sa.String(64), nullable=False),
        sa.Column("client_id", sa.String(64), nullable=False),
        sa.Column("subject_id", sa.BigInteger(), nullable=False),
        sa.Column("grant_id", sa.String(32), nullable=False),
        sa.Column("redirect_uri", sa.Text(), nullable=False),
        sa.Column("code_challenge", sa.String(64), nullable=False),
        sa.Column("dpop_jkt", sa.String(64), nullable=True),
        sa.Column("scope", sa.String(400), nullable=False),
        sa.Column("authorization_details", sa.Text(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("expires_at", INSTANT, nullable=False),
        sa.Column("used_at", INSTANT, nullable=True),
        sa.ForeignKeyConstraint(
            ["client_id"],
            ["oauth_client.client_id"],
        ),
        sa.ForeignKeyConstraint(
            ["subject_id"],
            ["person.subject_id"],
        ),
        sa.PrimaryKeyConstraint("code_hash"),
    )
    op.create_index("ix_authorization_code_expires_at", "authorization_code", ["expires_at"], unique=False)
    op.create_table(
        "batch",
        sa.Column("batch_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("platform", sa.String(64), nullable=False),
        sa.Column("stream", sa.String(64), nullable=False),
        sa.Column("delivery_id", sa.String(200), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("mapping", sa.String(120), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("accepted", sa.Integer(), nullable=False),
        sa.Column("replayed", sa.Integer(), nullable=False),
        sa.Column("conflicting", sa.Integer(), nullable=False),
        sa.Column("refused", sa.Integer(), nullable=False),
        sa.Column("quarantined", sa.Integer(), nullable=False),
        sa.Column("claimed_mg", sa.BigInteger(), nullable=False),
        sa.Column("window_id", sa.Integer(), nullable=False),
        sa.Column("records_root", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(
            ["window_id"],
            ["clearing_window.window_id"],
        ),
        sa.PrimaryKeyConstraint("batch_id"),
        sa.UniqueConstraint("platform", "stream", "delivery_id"),
    )
    op.create_index("ix_batch_window_id", "batch", ["window_id"], unique=False)
    op.create_table(
        "event",
        sa.Column("event_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("window_id", sa.Integer(), nullable=False),
        sa.Column("subject_id", sa.BigInteger(), nullable=False),
        sa.Column("behaviour", sa.String(32), nullable=False),
        sa.Column("start_us", sa.BigInteger(), nullable=False),
        sa.Column("end_us", sa.BigInteger(), nullable=False),
        sa.Column("mg", sa.BigInteger(), nullable=False),
        sa.Column("records", sa.Integer(), nullable=False),
        sa.Column("policy", sa.String(40), nullable=False),
        sa.Column("methodology", sa.String(40), nullable=False),
        sa.Column("provisional", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["window_id"],
            ["clearing_window.window_id"],
        ),
        sa.PrimaryKeyConstraint("event_id"),
    )
    op.create_index("ix_event_subject", "event", ["subject_id", "start_us"], unique=False)
    op.create_index("ix_event_window", "event", ["window_id"], unique=False)
    op.create_table(
        "grant_current",
        sa.Column("subject_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("recipient", sa.String(64), nullable=False),
        sa.Column("grant_id", sa.String(32), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("terms_id", sa.BigInteger(), nullable=False),
        sa.Column("valid_from_us", sa.BigInteger(), nullable=False),
        sa.Column("valid_until_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["subject_id"],
            ["person.subject_id"],
        ),
        sa.PrimaryKeyConstraint("subject_id", "recipient", "grant_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "grant_version",
        sa.Column("grant_id", sa.String(32), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("subject_id", sa.BigInteger(), nullable=False),
        sa.Column("recipient", sa.String(64), nullable=False),
        sa.Column("purposes", sa.Text(), nullable=False),
        sa.Column("behaviours", sa.Text(), nullable=False),
        sa.Column("platforms", sa.Text(), nullable=False),
        sa.Column("valid_from", INSTANT, nullable=False),
        sa.Column("valid_until", INSTANT, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("notice_version", sa.String(80), nullable=False),
        sa.Column("language", sa.String(16), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("reason", sa.String(80), nullable=False),
        sa.ForeignKeyConstraint(
            ["subject_id"],
            ["person.subject_id"],
        ),
        sa.PrimaryKeyConstraint("grant_id", "version"),
    )
    op.create_index("ix_grant_version_subject", "grant_version", ["subject_id", "recipient"], unique=False)
    op.create_table(
        "journal_entry",
        sa.Column("entry_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(40), nullable=False),
        sa.Column("window_id", sa.Integer(), nullable=False),
        sa.Column("source_id", sa.BigInteger(), nullable=False),
        sa.Column("reverses", sa.BigInteger(), nullable=True),
        sa.Column("posted_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(
            ["reverses"],
            ["journal_entry.entry_id"],
        ),
        sa.ForeignKeyConstraint(
            ["window_id"],
            ["clearing_window.window_id"],
        ),
        sa.PrimaryKeyConstraint("entry_id"),
        sa.UniqueConstraint("kind", "window_id", "source_id"),
    )
    op.create_index("ix_entry_reverses", "journal_entry", ["reverses"], unique=False)
    op.create_index("ix_entry_window", "journal_entry", ["window_id"], unique=False)
    op.create_table(
        "link",
        sa.Column("link_id", sa.String(32), nullable=False),
        sa.Column("subject_id", sa.BigInteger(), nullable=False),
        sa.Column("platform", sa.String(64), nullable=False),
        sa.Column("account_key", sa.String(32), nullable=False),
        sa.Column("account_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("grant_id", sa.String(32), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("valid_from", INSTANT, nullable=False),
        sa.Column("valid_until", INSTANT, nullable=True),
        sa.Column("scope", sa.String(400), nullable=False),
        sa.Column("token_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("token_expires_at", INSTANT, nullable=True),
        sa.Column("token_version", sa.Integer(), nullable=False),
        sa.Column("lease_holder", sa.String(64), nullable=True),
        sa.Column("lease_until", INSTANT, nullable=True),
        sa.Column("last_error", sa.String(80), nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(
            ["subject_id"],
            ["person.subject_id"],
        ),
        sa.PrimaryKeyConstraint("link_id"),
    )
    op.create_index(
        "ix_link_account",
        "link",
        ["platform", "account_key", "valid_from", "valid_until", "subject_id", "link_id"],
        unique=False,
    )
    op.create_index("ix_link_grant_id", "link", ["grant_id"], unique=False)
    op.create_index("ix_link_subject", "link", ["subject_id", "platform", "state", "valid_until"], unique=False)
    op.create_index(
        "uq_link_owner",
        "link",
        ["platform", "account_key"],
        unique=True,
        sqlite_where=sa.text("valid_until IS NULL"),
        postgresql_where=sa.text("valid_until IS NULL"),
    )
    op.create_table(
        "link_attempt",
        sa.Column("state_hash", sa.String(64), nullable=False),
        sa.Column("session_hash", sa.String(64), nullable=False),
        sa.Column("subject_id", sa.BigInteger(), nullable=False),
        sa.Column("platform", sa.String(64), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("redirect_uri", sa.Text(), nullable=False),
        sa.Column("verifier", sa.LargeBinary(), nullable=False),
        sa.Column("draft", sa.Text(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("expires_at", INSTANT, nullable=False),
        sa.Column("used_at", INSTANT, nullable=True),
        sa.ForeignKeyConstraint(
            ["subject_id"],
            ["person.subject_id"],
        ),
        sa.PrimaryKeyConstraint("state_hash"),
    )
    op.create_index("ix_link_attempt_expires_at", "link_attempt", ["expires_at"], unique=False)
    op.create_table(
        "log_body",
        sa.Column("leaf_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["leaf_id"],
            ["log_leaf.leaf_id"],
        ),
        sa.PrimaryKeyConstraint("leaf_id"),
    )
    op.create_table(
        "par_request",
        sa.Column("request_hash", sa.String(64), nullable=False),
        sa.Column("client_id", sa.String(64), nullable=False),
        sa.Column("parameters", sa.Text(), nullable=False),
        sa.Column("dpop_jkt", sa.String(64), nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("expires_at", INSTANT, nullable=False),
        sa.Column("used_at", INSTANT, nullable=True),
        sa.ForeignKeyConstraint(
            ["client_id"],
            ["oauth_client.client_id"],
        ),
        sa.PrimaryKeyConstraint("request_hash"),
    )
    op.create_index("ix_par_request_expires_at", "par_request", ["expires_at"], unique=False)
    op.create_table(
        "reconciliation",
        sa.Column("window_id", sa.Integer(), nullable=False),
        sa.Column("platform", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("ours_deliveries", sa.Integer(), nullable=False),
        sa.Column("ours_rows", sa.Integer(), nullable=False),
        sa.Column("theirs_deliveries", sa.Integer(), nullable=True),
        sa.Column("theirs_rows", sa.Integer(), nullable=True),
        sa.Column("breaks", sa.Text(), nullable=False),
        sa.Column("compared_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(
            ["window_id"],
            ["clearing_window.window_id"],
        ),
        sa.PrimaryKeyConstraint("window_id", "platform"),
    )
    op.create_table(
        "web_session",
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("subject_id", sa.BigInteger(), nullable=True),
        sa.Column("csrf", sa.String(64), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("expires_at", INSTANT, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["subject_id"],
            ["person.subject_id"],
        ),
        sa.PrimaryKeyConstraint("token_hash"),
    )
    op.create_index("ix_web_session_expires_at", "web_session", ["expires_at"], unique=False)
    op.create_index("ix_web_session_subject_id", "web_session", ["subject_id"], unique=False)
    op.create_table(
        "posting",
        sa.Column("entry_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("line", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("window_id", sa.Integer(), nullable=False),
        sa.Column("vintage", sa.Integer(), nullable=False),
        sa.Column("mg", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["account.account_id"],
        ),
        sa.ForeignKeyConstraint(
            ["entry_id"],
            ["journal_entry.entry_id"],
        ),
        sa.ForeignKeyConstraint(
            ["window_id"],
            ["clearing_window.window_id"],
        ),
        sa.PrimaryKeyConstraint("entry_id", "line"),
    )
    op.create_index("ix_posting_account", "posting", ["account_id", "vintage"], unique=False)
    op.create_index("ix_posting_window", "posting", ["window_id"], unique=False)
    op.create_table(
        "quarantined",
        sa.Column("quarantine_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("platform", sa.String(64), nullable=False),
        sa.Column("stream", sa.String(64), nullable=False),
        sa.Column("row_key", sa.LargeBinary(), nullable=False),
        sa.Column("batch_id", sa.BigInteger(), nullable=False),
        sa.Column("mapping", sa.String(120), nullable=False),
        sa.Column("reason", sa.String(64), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("received_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(
            ["batch_id"],
            ["batch.batch_id"],
        ),
        sa.PrimaryKeyConstraint("quarantine_id"),
        sa.UniqueConstraint("platform", "stream", "row_key", "reason"),
    )
    op.create_table(
        "source_record",
        sa.Column("record_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("platform", sa.String(64), nullable=False),
        sa.Column("stream", sa.String(64), nullable=False),
        sa.Column("source_id", sa.String(32), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("subject_id", sa.BigInteger(), nullable=False),
        sa.Column("link_id", sa.String(32), nullable=False),
        sa.Column("batch_id", sa.BigInteger(), nullable=False),
        sa.Column("window_id", sa.Integer(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("posted_us", sa.BigInteger(), nullable=True),
        sa.Column("received_us", sa.BigInteger(), nullable=False),
        sa.Column("cancelled", sa.Boolean(), nullable=False),
        sa.Column("superseded_by", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["batch_id"],
            ["batch.batch_id"],
        ),
        sa.ForeignKeyConstraint(
            ["window_id"],
            ["clearing_window.window_id"],
        ),
        sa.PrimaryKeyConstraint("record_id"),
        sa.UniqueConstraint("platform", "stream", "source_id", "digest"),
    )
    op.create_index("ix_source_record_identity", "source_record", ["platform", "stream", "source_id"], unique=False)
    op.create_index("ix_source_record_subject", "source_record", ["subject_id"], unique=False)
    op.create_table(
        "decision",
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
        sa.ForeignKeyConstraint(
            ["record_id"],
            ["source_record.record_id"],
        ),
        sa.ForeignKeyConstraint(
            ["window_id"],
            ["clearing_window.window_id"],
        ),
        sa.PrimaryKeyConstraint("record_id"),
    )
    op.create_index("ix_decision_event", "decision", ["event_id"], unique=False)
    op.create_index("ix_decision_subject", "decision", ["subject_id"], unique=False)
    op.create_index("ix_decision_window", "decision", ["window_id"], unique=False)
    op.create_table(
        "event_reversal",
        sa.Column("event_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("by_record_id", sa.BigInteger(), nullable=False),
        sa.Column("window_id", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(40), nullable=False),
        sa.ForeignKeyConstraint(
            ["by_record_id"],
            ["source_record.record_id"],
        ),
        sa.ForeignKeyConstraint(
            ["event_id"],
            ["event.event_id"],
        ),
        sa.ForeignKeyConstraint(
            ["window_id"],
            ["clearing_window.window_id"],
        ),
        sa.PrimaryKeyConstraint("event_id"),
    )
    op.create_index("ix_event_reversal_window_id", "event_reversal", ["window_id"], unique=False)
    op.create_table(
        "reduction_record",
        sa.Column("record_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("window_id", sa.Integer(), nullable=False),
        sa.Column("bucket", sa.Integer(), nullable=False),
        sa.Column("subject_id", sa.BigInteger(), nullable=False),
        sa.Column("platform", sa.String(64), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("behaviour", sa.String(32), nullable=False),
        sa.Column("start_us", sa.BigInteger(), nullable=False),
        sa.Column("end_us", sa.BigInteger(), nullable=False),
        sa.Column("precision", sa.String(8), nullable=False),
        sa.Column("quantity_micro", sa.BigInteger(), nullable=True),
        sa.Column("unit", sa.String(16), nullable=True),
        sa.Column("event_key", sa.BigInteger(), nullable=True),
        sa.Column("payment_key", sa.BigInteger(), nullable=True),
        sa.Column("region", sa.Integer(), nullable=True),
        sa.Column("claimed_mg", sa.BigInteger(), nullable=True),
        sa.Column("reference_mg", sa.BigInteger(), nullable=True),
        sa.Column("factor_id", sa.String(120), nullable=True),
        sa.Column("methodology", sa.String(40), nullable=False),
        sa.Column("mapping", sa.String(120), nullable=False),
        sa.ForeignKeyConstraint(
            ["record_id"],
            ["source_record.record_id"],
        ),
        sa.ForeignKeyConstraint(
            ["window_id"],
            ["clearing_window.window_id"],
        ),
        sa.PrimaryKeyConstraint("record_id"),
    )
    op.create_index("ix_reduction_record_subject", "reduction_record", ["subject_id", "start_us"], unique=False)
    op.create_index("ix_reduction_record_window", "reduction_record", ["window_id", "bucket"], unique=False)
    _create_sequences()
    _refuse_changes()


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        for name in SEQUENCES:
            op.execute(f"DROP SEQUENCE {name}_seq")
        for table in IMMUTABLE:
            op.execute(f"DROP TRIGGER immutable ON {table}")
        op.execute("DROP FUNCTION refuse_change")
    op.drop_index("ix_reduction_record_window", table_name="reduction_record")
    op.drop_index("ix_reduction_record_subject", table_name="reduction_record")
    op.drop_table("reduction_record")
    op.drop_index("ix_event_reversal_window_id", table_name="event_reversal")
    op.drop_table("event_reversal")
    op.drop_index("ix_decision_window", table_name="decision")
    op.drop_index("ix_decision_subject", table_name="decision")
    op.drop_index("ix_decision_event", table_name="decision")
    op.drop_table("decision")
    op.drop_index("ix_source_record_subject", table_name="source_record")
    op.drop_index("ix_source_record_identity", table_name="source_record")
    op.drop_table("source_record")
    op.drop_table("quarantined")
    op.drop_index("ix_posting_window", table_name="posting")
    op.drop_index("ix_posting_account", table_name="posting")
    op.drop_table("posting")
    op.drop_index("ix_web_session_subject_id", table_name="web_session")
    op.drop_index("ix_web_session_expires_at", table_name="web_session")
    op.drop_table("web_session")
    op.drop_table("reconciliation")
    op.drop_index("ix_par_request_expires_at", table_name="par_request")
    op.drop_table("par_request")
    op.drop_table("log_body")
    op.drop_index("ix_link_attempt_expires_at", table_name="link_attempt")
    op.drop_table("link_attempt")
    op.drop_index(
        "uq_link_owner",
        table_name="link",
        sqlite_where=sa.text("valid_until IS NULL"),
        postgresql_where=sa.text("valid_until IS NULL"),
    )
    op.drop_index("ix_link_subject", table_name="link")
    op.drop_index("ix_link_grant_id", table_name="link")
    op.drop_index("ix_link_account", table_name="link")
    op.drop_table("link")
    op.drop_index("ix_entry_window", table_name="journal_entry")
    op.drop_index("ix_entry_reverses", table_name="journal_entry")
    op.drop_table("journal_entry")
    op.drop_index("ix_grant_version_subject", table_name="grant_version")
    op.drop_table("grant_version")
    op.drop_table("grant_current")
    op.drop_index("ix_event_window", table_name="event")
    op.drop_index("ix_event_subject", table_name="event")
    op.drop_table("event")
    op.drop_index("ix_batch_window_id", table_name="batch")
    op.drop_table("batch")
    op.drop_index("ix_authorization_code_expires_at", table_name="authorization_code")
    op.drop_table("authorization_code")
    op.drop_index("ix_access_token_grant_id", table_name="access_token")
    op.drop_index("ix_access_token_expires_at", table_name="access_token")
    op.drop_index("ix_access_token_client_id", table_name="access_token")
    op.drop_table("access_token")
    op.drop_index("ix_used_jti_expires_at", table_name="used_jti")
    op.drop_table("used_jti")
    op.drop_index("ix_sync_state_due_at", table_name="sync_state")
    op.drop_table("sync_state")
    op.drop_index("ix_sign_in_throttle_updated_at", table_name="sign_in_throttle")
    op.drop_table("sign_in_throttle")
    op.drop_index("ix_person_kek_id", table_name="person")
    op.drop_table("person")
    op.drop_table("participant")
    op.drop_index("ix_oauth_client_participant", table_name="oauth_client")
    op.drop_table("oauth_client")
    op.drop_table("log_tile")
    op.drop_index(
        "ix_log_leaf_waiting",
        table_name="log_leaf",
        sqlite_where=sa.text("first_index IS NULL"),
        postgresql_where=sa.text("first_index IS NULL"),
    )
    op.drop_table("log_leaf")
    op.drop_table("log_head")
    op.drop_table("hub_sequence")
    op.drop_table("grant_terms")
    op.drop_table("dirty_subject")
    op.drop_index(
        "uq_open_window",
        table_name="clearing_window",
        sqlite_where=sa.text("state = 'open'"),
        postgresql_where=sa.text("state = 'open'"),
    )
    op.drop_table("clearing_window")
    op.drop_index("ix_change_leaf_leaf_id", table_name="change_leaf")
    op.drop_table("change_leaf")
    op.drop_index(
        "uq_account_subject",
        table_name="account",
        sqlite_where=sa.text("subject_id IS NOT NULL"),
        postgresql_where=sa.text("subject_id IS NOT NULL"),
    )
    op.drop_index(
        "uq_account_platform",
        table_name="account",
        sqlite_where=sa.text("platform IS NOT NULL"),
        postgresql_where=sa.text("platform IS NOT NULL"),
    )
    op.drop_table("account")


def _create_sequences() -> None:
    if op.get_bind().dialect.name == "postgresql":
        for name in SEQUENCES:
            op.execute(f"CREATE SEQUENCE {name}_seq AS BIGINT")
        return
    for name in SEQUENCES:
        op.execute(f"INSERT INTO hub_sequence (name, value) VALUES ('{name}', 0)")


def _refuse_changes() -> None:
    """What was posted or granted is never edited; mistakes are mended by new rows."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$"
        )
        for table in IMMUTABLE:
            op.execute(
                f"CREATE TRIGGER immutable BEFORE UPDATE OR DELETE ON {table} "
                "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
            )
        return
    for table in IMMUTABLE:
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )
