"""Take a person out of their records. I/O: the record store, breaks, events, `spent_record`, in the caller's transaction.

What totals and final windows rest on stays: which record, which window, how much. What could tell whose it was goes: the
sealed payload, the name that the platform's own id leads to, the digest that who knows the content can compute, the
tokens of orders and payments, the place, and the time of day. ADR 0014. Of the place there stays what the amount says anyway:
the province or city whose own figure it was computed with, so that it can be computed again.
"""

import secrets

import polars as pl
from sqlalchemy import text
from sqlalchemy.orm import Session

from consent.keyring import KeyPurpose, KeyRing
from hub.db import load_frame
from hub.records.naming import spent_token
from standards.datafile import DataError
from standards.methodology import load_methodology
from standards.quantify import quantify
from standards.schema import RECORD_SCHEMA

# Midnight in Asia/Shanghai of the day of a time in microseconds, in SQL that both databases compute alike.
_DAY = "start_us - (start_us + 28800000000) % 86400000000"
_ROWS = 5_000


def empty_records(session: Session, ring: KeyRing, subject_id: int) -> int:
    """Mark every record of a person as spent, then empty it; returns how many there were.

    A record can have versions of two people: a newer one may say that the act was somebody else's. All of them get the new
    name, so that they stay versions of one record, and it is marked once, however many of its people are erased.

    The caller holds the open window alone, so no delivery brings another one meanwhile.
    """
    _spend(session, ring.hmac_key(KeyPurpose.SPENT), subject_id)
    _forget_breaks(session, subject_id)
    count = _empty_sources(session, subject_id)
    places = _places_of_amounts(session, subject_id)
    session.execute(
        text(
            f"UPDATE reduction_record SET start_us = {_DAY}, end_us = {_DAY}, event_key = NULL, payment_key = NULL, "
            "region = NULL WHERE subject_id = :s"
        ),
        {"s": subject_id},
    )
    if places:
        session.execute(text("UPDATE reduction_record SET region = :region WHERE record_id = :record_id"), places)
    for table in ("hold_review", "adjustment"):
        session.execute(text(f"UPDATE {table} SET why = '' WHERE subject_id = :s"), {"s": subject_id})
    session.execute(
        text(f"UPDATE event SET start_us = {_DAY}, end_us = {_DAY} WHERE subject_id = :s"), {"s": subject_id}
    )
    return count


def _places_of_amounts(session: Session, subject_id: int) -> list[dict[str, int]]:
    """Return record_id and the coarsest region that gives the amount and figure that are stored, where one is needed."""
    sql = (
        "SELECT record_id, methodology, role, start_us, region, behaviour, precision, quantity_micro, unit, reference_mg, "
        "factor_id FROM reduction_record WHERE subject_id = :s AND region IS NOT NULL AND factor_id IS NOT NULL"
    )
    stored = {
        "record_id": pl.Int64(), "methodology": pl.String(), "role": pl.String(), "start_us": pl.Int64(),
        "region": pl.Int32(), "behaviour": pl.String(), "precision": pl.String(), "quantity_micro": pl.Int64(),
        "unit": pl.String(), "reference_mg": pl.Int64(), "factor_id": pl.String(),
    }  # fmt: skip
    found: list[dict[str, int]] = []
    for (version,), rows in load_frame(session, sql, stored, s=subject_id).group_by("methodology"):
        try:
            methodology = load_methodology(str(version))
        except DataError:
            continue  # nobody can compute it again, with or without a place
        at = pl.from_epoch("start_us", time_unit="us").dt.replace_time_zone("UTC")
        absent = [pl.lit(None, kind).alias(name) for name, kind in RECORD_SCHEMA.items() if name not in stored]
        for cut in (None, 10_000, 100):
            place = pl.lit(None, pl.Int32) if cut is None else pl.col("region") // cut * cut
            told = rows.with_columns(*(one for one in absent if one.meta.output_name() != "start_at"), start_at=at)
            anew = quantify(told.with_columns(region=place), methodology)
            same = anew["reference_mg"].eq_missing(rows["reference_mg"])
            same &= anew["factor_id"].eq_missing(rows["factor_id"])
            if cut is not None:
                kept = rows.filter(same).select("record_id", region=place.cast(pl.Int64))
                found += kept.to_dicts()
            rows = rows.filter(~same)
    return found


def _spend(session: Session, key: bytes, subject_id: int) -> None:
    """Keep a mark of every record, counted or not: who forgets what did not count could try it again."""
    sql = (
        "SELECT DISTINCT platform, stream, source_id FROM source_record s WHERE subject_id = :s AND NOT EXISTS ("
        "SELECT 1 FROM source_record o JOIN person p ON p.subject_id = o.subject_id WHERE o.platform = s.platform "
        "AND o.stream = s.stream AND o.source_id = s.source_id AND p.erased_at IS NOT NULL)"
    )
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
    places = (
        "(SELECT o.window_id, o.platform, o.stream FROM source_record s JOIN source_record o ON o.platform = s.platform "
        "AND o.stream = s.stream AND o.source_id = s.source_id WHERE s.subject_id = :s)"
    )
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
    _rename_others(session, subject_id, names)
    for start in range(0, len(rows), _ROWS):
        session.execute(
            text(
                "UPDATE source_record SET source_id = :name, digest = :digest, payload = :none, posted_us = NULL "
                "WHERE record_id = :r"
            ),
            [{**row, "none": b""} for row in rows[start : start + _ROWS]],
        )
    return len(rows)


def _rename_others(session: Session, subject_id: int, names: dict[tuple[str, str, str], str]) -> None:
    """Give other people's versions of this person's records the names that this person's get."""
    shared = text(
        "SELECT DISTINCT o.platform, o.stream, o.source_id FROM source_record s JOIN source_record o "
        "ON o.platform = s.platform AND o.stream = s.stream AND o.source_id = s.source_id "
        "AND o.subject_id <> s.subject_id WHERE s.subject_id = :s"
    )
    for platform, stream, source in session.execute(shared, {"s": subject_id}).all():
        session.execute(
            text(
                "UPDATE source_record SET source_id = :name "
                "WHERE platform = :p AND stream = :t AND source_id = :old AND subject_id <> :s"
            ),
            {"name": names[platform, stream, source], "p": platform, "t": stream, "old": source, "s": subject_id},
        )
