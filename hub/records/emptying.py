"""Take a person out of their records. I/O: the record store, breaks, events, `spent_record`, in the caller's transaction.

What totals and final windows rest on stays: which record, which window, how much. What could tell whose it was goes: the
sealed payload, the name that the platform's own id leads to, the digest that who knows the content can compute, the
tokens of orders and payments, the place, and the time of day. ADR 0014.
"""

import secrets

from sqlalchemy import text
from sqlalchemy.orm import Session

from consent.keyring import KeyPurpose, KeyRing
from hub.records.naming import spent_token

# Midnight in Asia/Shanghai of the day of a time in microseconds, in SQL that both databases compute alike.
_DAY = "start_us - (start_us + 28800000000) % 86400000000"
_ROWS = 5_000


def empty_records(session: Session, ring: KeyRing, subject_id: int) -> int:
    """Mark every record of a person as spent, then empty it; returns how many there were.

    The caller holds the open window alone, so no delivery brings another one meanwhile.
    """
    _spend(session, ring.hmac_key(KeyPurpose.SPENT), subject_id)
    _forget_breaks(session, subject_id)
    count = _empty_sources(session, subject_id)
    session.execute(
        text(
            f"UPDATE reduction_record SET start_us = {_DAY}, end_us = {_DAY}, event_key = NULL, payment_key = NULL, "
            "region = NULL WHERE subject_id = :s"
        ),
        {"s": subject_id},
    )
    session.execute(text("UPDATE hold_review SET why = '' WHERE subject_id = :s"), {"s": subject_id})
    session.execute(
        text(f"UPDATE event SET start_us = {_DAY}, end_us = {_DAY} WHERE subject_id = :s"), {"s": subject_id}
    )
    return count


def _spend(session: Session, key: bytes, subject_id: int) -> None:
    """Keep a mark of every record, counted or not: who forgets what did not count could try it again."""
    sql = "SELECT DISTINCT platform, stream, source_id FROM source_record WHERE subject_id = :s"
    tokens = [{"t": spent_token(key, *identity)} for identity in session.execute(text(sql), {"s": subject_id})]
    for start in range(0, len(tokens), _ROWS):
        session.execute(
            text("INSERT INTO spent_record (token) VALUES (:t) ON CONFLICT DO NOTHING"), tokens[start : start + _ROWS]
        )


def _forget_breaks(session: Session, subject_id: int) -> None:
    """Take the records' names out of breaks, whatever was noted there, and digests that one of them went into.

    Before the records lose their own names: a break about what had not come yet is found by the name alone.
    """
    named = "(SELECT platform, stream, source_id FROM source_record WHERE subject_id = :s)"
    session.execute(
        text(
            "UPDATE statement_break SET source_id = NULL, source_sealed = NULL, note = '' "
            f"WHERE (platform, stream, source_id) IN {named}"
        ),
        {"s": subject_id},
    )
    places = "(SELECT window_id, platform, stream FROM source_record WHERE subject_id = :s)"
    session.execute(
        text(
            "UPDATE stream_reconciliation SET ours_digest = NULL, theirs_digest = NULL "
            f"WHERE (window_id, platform, stream) IN {places}"
        ),
        {"s": subject_id},
    )


def _empty_sources(session: Session, subject_id: int) -> int:
    sql = "SELECT record_id, platform, stream, source_id FROM source_record WHERE subject_id = :s ORDER BY record_id"
    names: dict[tuple[str, str, str], str] = {}  # versions of one record stay versions of one record
    rows = [
        {
            "r": record_id,
            "name": names.setdefault((platform, stream, source), secrets.token_hex(16)),
            "digest": secrets.token_bytes(32),
        }
        for record_id, platform, stream, source in session.execute(text(sql), {"s": subject_id})
    ]
    for start in range(0, len(rows), _ROWS):
        session.execute(
            text(
                "UPDATE source_record SET source_id = :name, digest = :digest, payload = :none, posted_us = NULL "
                "WHERE record_id = :r"
            ),
            [{**row, "none": b""} for row in rows[start : start + _ROWS]],
        )
    return len(rows)
