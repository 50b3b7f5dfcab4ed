"""The record store. I/O: the database, inside the caller's transaction.

Durable when that transaction commits; nothing here may be lost, the sealed payload least of all (mappings are replayed
from it). Rows of persons are only taken with the guard's permit, so a caller that forgot to ask cannot write.
"""

from datetime import datetime

import polars as pl
from sqlalchemy import bindparam, text, update
from sqlalchemy.orm import Session
from sqlmodel import col, select

from consent.guard import Permit
from consent.types import UtcDateTime
from consent.vault import SubjectVault
from hub.clock import to_micros
from hub.db import append_frame, load_by_ids, next_sequence
from hub.records.intake import KNOWN_SCHEMA, Intake
from hub.records.tables import Batch, SourceRecord
from standards.canonical import bucket_of


def load_known(session: Session, platform: str, stream: str, source_ids: list[str]) -> pl.DataFrame:
    """Load every stored version of these source ids (KNOWN_SCHEMA)."""
    sql = (
        "SELECT source_id, digest, version, record_id, superseded_by IS NOT NULL FROM source_record "
        "WHERE platform = :platform AND stream = :stream AND source_id IN :ids"
    )
    return load_by_ids(session, sql, KNOWN_SCHEMA, source_ids, platform=platform, stream=stream)


def find_batch(session: Session, platform: str, stream: str, delivery_id: str) -> Batch | None:
    """Return the batch that came under this delivery id, if one did."""
    wanted = select(Batch).where(
        col(Batch.platform) == platform, col(Batch.stream) == stream, col(Batch.delivery_id) == delivery_id
    )
    return session.execute(wanted).scalar_one_or_none()


def append_records(
    session: Session,
    permit: Permit,
    vault: SubjectVault,
    batch: Batch,
    intake: Intake,
    *,
    methodology: str,
    received_at: datetime,
) -> None:
    """Store the fresh rows of a batch and mark the versions they supersede.

    A row that the permit does not allow is our own mistake, never the platform's, and stops the transaction.

    Args:
        intake: `fresh` has, beside the translated columns, record_id, subject_id, link_id, payload, reference_mg and factor_id.
    """
    fresh = intake.fresh
    if not fresh["row"].is_in(permit.allowed["row"].implode()).all():
        raise AssertionError("a row without permission reached the record store")
    if fresh.is_empty():
        return
    newest = fresh.filter("newest").select("source_id", newest_id="record_id")
    fresh = fresh.join(newest, on="source_id", how="left", maintain_order="left")
    fresh = fresh.join(intake.standing, on="source_id", how="left", maintain_order="left").with_columns(
        superseded_by=pl.when(~pl.col("newest")).then(pl.coalesce("newest_id", "standing_id"))
    )
    append_frame(session, "source_record", _source_rows(fresh, vault, batch, received_at))
    append_frame(session, "reduction_record", _reduction_rows(fresh, batch, methodology))
    for source in intake.standing.join(newest, on="source_id").iter_rows(named=True):
        session.execute(
            update(SourceRecord)
            .where(col(SourceRecord.record_id) == source["standing_id"])
            .values(superseded_by=source["newest_id"])
        )


def append_quarantined(session: Session, frame: pl.DataFrame, batch: Batch, received_at: datetime) -> int:
    """Store rows (row_key, reason, detail, payload) that could not go on; one that is there already stays as it is.

    One that was replayed and ends here again is open again. Returns the number of rows that are new or open again.
    """
    if frame.is_empty():
        return 0
    frame = frame.unique(["row_key", "reason"], keep="first", maintain_order=True)
    marks = ", ".join(f":{name}" for name in QUARANTINED_COLUMNS)
    insert = text(
        f"INSERT INTO quarantined ({', '.join(QUARANTINED_COLUMNS)}) VALUES ({marks}) "
        "ON CONFLICT (platform, stream, row_key, reason) DO UPDATE SET state = 'open', payload = excluded.payload, "
        "batch_id = excluded.batch_id, mapping = excluded.mapping WHERE quarantined.state = 'replayed'"
    ).bindparams(bindparam("received_at", type_=UtcDateTime()))
    added = 0
    for number, row in zip(next_sequence(session, "quarantine", len(frame)), frame.iter_rows(named=True), strict=True):
        fixed = {
            "platform": batch.platform,
            "stream": batch.stream,
            "batch_id": batch.batch_id,
            "mapping": batch.mapping,
        }
        result = session.execute(
            insert, {**row, **fixed, "quarantine_id": number, "state": "open", "received_at": received_at}
        )
        added += int(result.rowcount)  # type: ignore[attr-defined]
    return added


def mark_dirty(session: Session, subject_ids: pl.Series) -> None:
    """Note that these subjects have records that their provisional decisions do not know yet."""
    if len(subject_ids):
        session.execute(
            text(
                "INSERT INTO dirty_subject (subject_id, marks) VALUES (:s, 1) "
                "ON CONFLICT (subject_id) DO UPDATE SET marks = dirty_subject.marks + 1"
            ),
            [{"s": subject_id} for subject_id in subject_ids.unique().sort().to_list()],
        )


QUARANTINED_COLUMNS = (
    "quarantine_id", "platform", "stream", "row_key", "batch_id", "mapping", "reason", "detail", "payload", "state",
    "received_at",
)  # fmt: skip


def _source_rows(fresh: pl.DataFrame, vault: SubjectVault, batch: Batch, received_at: datetime) -> pl.DataFrame:
    sealed = vault.seal_many(
        "source_record",
        "payload",
        row_ids=fresh["record_id"].to_list(),
        subject_ids=fresh["subject_id"].to_list(),
        plaintexts=fresh["payload"].to_list(),
    )
    return fresh.select(
        "record_id", "source_id", "version", "digest", "subject_id", "link_id", "cancelled",
        "superseded_by",
        payload=pl.Series(sealed, dtype=pl.Binary()),
        posted_us=pl.col("posted_at").dt.timestamp("us"),
        # What is restated was received once, and keeps that time.
        received_us=pl.col("received_us") if "received_us" in fresh.columns else pl.lit(to_micros(received_at)),
        platform=pl.lit(batch.platform), stream=pl.lit(batch.stream),
        batch_id=pl.lit(batch.batch_id), window_id=pl.lit(batch.window_id),
    )  # fmt: skip


def _reduction_rows(fresh: pl.DataFrame, batch: Batch, methodology: str) -> pl.DataFrame:
    return fresh.select(
        "record_id", "subject_id", "role", "behaviour", "precision", "quantity_micro", "unit", "region",
        "claimed_mg", "reference_mg", "factor_id",
        # Databases know no unsigned 64-bit integer: the same bits as a signed one.
        pl.col("event_key").reinterpret(signed=True), pl.col("payment_key").reinterpret(signed=True),
        bucket=bucket_of(fresh["subject_id"]),
        start_us=pl.col("start_at").dt.timestamp("us"),
        end_us=pl.col("end_at").dt.timestamp("us"),
        platform=pl.lit(batch.platform), window_id=pl.lit(batch.window_id),
        methodology=pl.lit(methodology), mapping=pl.lit(batch.mapping),
    )  # fmt: skip
