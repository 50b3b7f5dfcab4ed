"""The record store. I/O: the database, inside the caller's transaction.

Durable when that transaction commits; nothing here may be lost, the sealed payload least of all (mappings are replayed
from it). Rows of persons are only taken with the guard's permit, so a caller that forgot to ask cannot write.
"""

from collections import Counter
from dataclasses import dataclass
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


def load_subjects(session: Session, record_ids: list[int]) -> pl.Series:
    """Return whose records these are, each person as often as they have one."""
    sql = "SELECT subject_id FROM source_record WHERE record_id IN :ids"
    return load_by_ids(session, sql, {"subject_id": pl.Int64()}, record_ids)["subject_id"]


def find_batches(session: Session, platform: str, stream: str, delivery_ids: list[str]) -> dict[str, Batch]:
    """Return the batches that came under these delivery ids, by id."""
    wanted = select(Batch).where(
        col(Batch.platform) == platform, col(Batch.stream) == stream, col(Batch.delivery_id).in_(delivery_ids)
    )
    return {batch.delivery_id: batch for batch in session.execute(wanted).scalars()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """Where rows go: what all batches that are stored together have in common."""

    platform: str
    stream: str
    mapping: str
    window_id: int


def append_records(
    session: Session,
    permit: Permit,
    vault: SubjectVault,
    shelf: Shelf,
    intake: Intake,
    *,
    methodology: str,
    received_at: datetime,
) -> None:
    """Store fresh rows and mark the versions they supersede.

    A row that the permit does not allow is our own mistake, never the platform's, and stops the transaction.

    Args:
        intake: `fresh` has, beside the translated columns, record_id, batch_id, subject_id, link_id, payload, reference_mg
            and factor_id.
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
    # First: of one record one version stands at any time, and the database holds everybody to it.
    for source in intake.standing.join(newest, on="source_id").sort("standing_id").iter_rows(named=True):
        session.execute(
            update(SourceRecord)
            .where(col(SourceRecord.record_id) == source["standing_id"])
            .values(superseded_by=source["newest_id"])
        )
    append_frame(session, "source_record", _source_rows(fresh, vault, shelf, received_at))
    append_frame(session, "reduction_record", _reduction_rows(fresh, shelf, methodology))


def append_quarantined(session: Session, frame: pl.DataFrame, shelf: Shelf, received_at: datetime) -> Counter[int]:
    """Store rows (row_key, batch_id, reason, detail, payload) that could not go on; one that is there already stays as it is.

    One that was replayed and ends here again is open again. Returns how many rows of each batch are new or open again.
    """
    added: Counter[int] = Counter()
    if frame.is_empty():
        return added
    frame = frame.unique(["row_key", "reason"], keep="first", maintain_order=True)
    marks = ", ".join(f":{name}" for name in QUARANTINED_COLUMNS)
    insert = text(
        f"INSERT INTO quarantined ({', '.join(QUARANTINED_COLUMNS)}) VALUES ({marks}) "
        "ON CONFLICT (platform, stream, row_key, reason) DO UPDATE SET state = 'open', payload = excluded.payload, "
        "batch_id = excluded.batch_id, mapping = excluded.mapping WHERE quarantined.state = 'replayed'"
    ).bindparams(bindparam("received_at", type_=UtcDateTime()))
    fixed = {"platform": shelf.platform, "stream": shelf.stream, "mapping": shelf.mapping, "state": "open"}
    for number, row in zip(next_sequence(session, "quarantine", len(frame)), frame.iter_rows(named=True), strict=True):
        values = {**row, **fixed, "quarantine_id": number, "received_at": received_at}
        added[row["batch_id"]] += int(session.execute(insert, values).rowcount)  # type: ignore[attr-defined]
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


def _source_rows(fresh: pl.DataFrame, vault: SubjectVault, shelf: Shelf, received_at: datetime) -> pl.DataFrame:
    sealed = vault.seal_many(
        "source_record",
        "payload",
        row_ids=fresh["record_id"].to_list(),
        subject_ids=fresh["subject_id"].to_list(),
        plaintexts=fresh["payload"].to_list(),
    )
    return fresh.select(
        "record_id", "source_id", "version", "digest", "subject_id", "link_id", "cancelled",
        "superseded_by", "batch_id",
        payload=pl.Series(sealed, dtype=pl.Binary()),
        posted_us=pl.col("posted_at").dt.timestamp("us"),
        # What is restated was received once, and keeps that time.
        received_us=pl.col("received_us") if "received_us" in fresh.columns else pl.lit(to_micros(received_at)),
        platform=pl.lit(shelf.platform), stream=pl.lit(shelf.stream), window_id=pl.lit(shelf.window_id),
    )  # fmt: skip


def _reduction_rows(fresh: pl.DataFrame, shelf: Shelf, methodology: str) -> pl.DataFrame:
    return fresh.select(
        "record_id", "subject_id", "role", "behaviour", "precision", "quantity_micro", "unit", "region",
        "claimed_mg", "reference_mg", "factor_id",
        # Databases know no unsigned 64-bit integer: the same bits as a signed one.
        pl.col("event_key").reinterpret(signed=True), pl.col("payment_key").reinterpret(signed=True),
        bucket=bucket_of(fresh["subject_id"]),
        start_us=pl.col("start_at").dt.timestamp("us"),
        end_us=pl.col("end_at").dt.timestamp("us"),
        platform=pl.lit(shelf.platform), window_id=pl.lit(shelf.window_id),
        methodology=pl.lit(methodology), mapping=pl.lit(shelf.mapping),
    )  # fmt: skip
