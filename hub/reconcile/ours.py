"""The hub's side of a statement: the records that a platform told in a window, with the platform's own ids. I/O: the database.

Only tokens of ids are stored, so the ids are read again from the sealed payloads; whoever was erased is not on either side. What
the hub itself took in again (set aside before, restated, released) was not told in this window and is not here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import polars as pl
from sqlalchemy.orm import Session

from consent.keyring import KeyRing
from consent.vault import load_vault
from hub.clearing.tables import ClearingWindow
from hub.clearing.windows import load_span
from hub.clock import to_micros
from hub.columns import load_columns
from hub.db import load_by_ids, load_frame
from hub.errors import NotFound
from hub.participants import Feed, Platform
from hub.reconcile.lines import ELSEWHERE_SCHEMA, LINE_SCHEMA, OURS_SCHEMA, BreakKind
from hub.records.naming import find_spent, load_naming, token_of
from mappings import MappingError, load_mapping
from mappings.own_ids import numbers_versions, read_source_ids
from standards.datafile import DataError

_CHUNK = 50_000
_TOLD: dict[str, Any] = {
    "record_id": pl.Int64(), "token": pl.String(), "version": pl.Int64(), "claimed_mg": pl.Int64(), "posted_us": pl.Int64(),
    "mapping": pl.String(), "subject_id": pl.Int64(),
}  # fmt: skip
# The range of numbers is what the primary key finds quickly.
_OF_WINDOW = (
    "FROM source_record s JOIN reduction_record r ON r.record_id = s.record_id JOIN batch b ON b.batch_id = s.batch_id "
    "WHERE s.record_id BETWEEN :first AND :last AND s.window_id = :w AND s.platform = :p AND s.stream = :s "
    "AND b.origin IN ('received', 'fetched')"
)
_KEYS = (
    "SELECT s.record_id, s.source_id, s.version, COALESCE(r.claimed_mg, 0), s.posted_us, r.mapping, s.subject_id "
    f"{_OF_WINDOW}"
)
_PAYLOADS = f"SELECT s.record_id, s.payload {_OF_WINDOW}"
_PAYLOAD: dict[str, Any] = {"record_id": pl.Int64(), "payload": pl.Binary()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """When a window was open, in microseconds since 1970; `until_us` is None while it is."""

    from_us: int
    until_us: int | None


def load_period(session: Session, window_id: int) -> Period:
    """Return when a window was open; raises NotFound."""
    window = session.get(ClearingWindow, window_id)
    if window is None:
        raise NotFound(f"there is no window {window_id}")
    until = window.sealed_at
    return Period(from_us=to_micros(window.opened_at), until_us=None if until is None else to_micros(until))


def feeds_of(platform: Platform) -> dict[str, Feed]:
    """Return the feeds whose records a statement can name, by stream: rows that name nobody are no records."""
    return {feed.stream: feed for feed in platform.feeds if not load_mapping(feed.mapping).corroborates}


def is_numbered(feed: Feed) -> bool:
    """Tell whether lines of a feed carry the version number that stands in the platform's records."""
    told = feed.connector.describe()
    return told.correction_mode == "version" and numbers_versions(load_mapping(feed.mapping))


def load_keys(session: Session, platform: str, feed: Feed, window_id: int) -> pl.DataFrame:
    """Load each record of a stream in a window with its last version, without the platform's own ids, by record number."""
    span = load_span(session, window_id)
    params = {"first": span.first_seq, "last": span.last_seq, "w": window_id, "p": platform, "s": feed.stream}
    told = load_columns(session, _KEYS, _TOLD, **params)
    newest = told.sort("version", "record_id").unique("token", keep="last")
    if not is_numbered(feed):
        newest = newest.with_columns(version=pl.lit(0, pl.Int64()))
    return newest.sort("record_id")


def load_ours(session: Session, ring: KeyRing, platform: str, feed: Feed, window_id: int) -> pl.DataFrame:
    """Load our side of a stream (OURS_SCHEMA, by record number)."""
    keys = load_keys(session, platform, feed, window_id)
    named = name_lines(session, ring, platform, feed, window_id, keys)
    before = load_frame(
        session,
        "SELECT DISTINCT record_id FROM statement_break WHERE platform = :p AND stream = :s AND kind = :late "
        "AND window_id < :w AND record_id IS NOT NULL",
        {"record_id": pl.Int64()}, p=platform, s=feed.stream, w=window_id, late=str(BreakKind.LATE),
    )  # fmt: skip
    told_before = pl.col("record_id").is_in(before["record_id"].implode())
    return named.with_columns(told_before=told_before).select(list(OURS_SCHEMA)).cast(OURS_SCHEMA)


def name_lines(
    session: Session, ring: KeyRing, platform: str, feed: Feed, window_id: int, keys: pl.DataFrame
) -> pl.DataFrame:
    """Add `source_id`, read again from what was kept, to rows of `load_keys`; those of erased people are left out."""
    parts = [pl.DataFrame(schema=_TOLD | {"source_id": pl.String()})]
    for chunk in keys.sort("record_id").iter_slices(_CHUNK):
        params = {"first": int(chunk["record_id"][0]), "last": int(chunk["record_id"][-1]), "w": window_id}
        payloads = load_columns(session, _PAYLOADS, _PAYLOAD, **params, p=platform, s=feed.stream)
        rows = chunk.join(payloads, on="record_id", how="inner", maintain_order="left")
        vault = load_vault(session, ring, rows["subject_id"].unique().to_list())
        opened = vault.open_many(
            "source_record", "payload", row_ids=rows["record_id"].to_list(), subject_ids=rows["subject_id"].to_list(),
            blobs=rows["payload"].to_list(),
        )  # fmt: skip
        readable = rows.with_columns(pl.Series("payload", opened, dtype=pl.Binary())).drop_nulls("payload")
        parts += [_named(part) for _, part in readable.group_by("mapping", maintain_order=True)]
    return pl.concat(parts).drop_nulls("source_id").sort("record_id")


def load_elsewhere(
    session: Session, ring: KeyRing, platform: str, feed: Feed, source_ids: Iterable[str]
) -> tuple[pl.DataFrame, list[str]]:
    """Look for ids in all windows: what is known of them (ELSEWHERE_SCHEMA), and which may never count again.

    An erased person's records are forgotten here, whatever the platform still has of them.
    """
    naming, told = load_naming(session, ring), list(source_ids)
    if not told:
        return pl.DataFrame(schema=ELSEWHERE_SCHEMA), []
    spent = find_spent(session, naming, platform, feed.stream, told)
    names = pl.DataFrame(
        {
            "token": [token_of(key, source) for key in naming.keys for source in told],
            "source_id": [source for _ in naming.keys for source in told],
        }
    )
    sql = (
        "SELECT s.source_id, s.window_id, s.version, COALESCE(r.claimed_mg, 0), s.record_id FROM source_record s "
        "JOIN reduction_record r ON r.record_id = s.record_id "
        "WHERE s.platform = :p AND s.stream = :s AND s.source_id IN :ids"
    )
    schema = {
        "token": pl.String(), "window_id": pl.Int64(), "version": pl.Int64(), "claimed_mg": pl.Int64(),
        "record_id": pl.Int64(),
    }  # fmt: skip
    found = load_by_ids(session, sql, schema, names["token"].to_list(), p=platform, s=feed.stream)
    if not is_numbered(feed):
        found = found.with_columns(version=pl.lit(0, pl.Int64()))
    known = found.join(names, on="token", how="inner").select(list(ELSEWHERE_SCHEMA)).cast(ELSEWHERE_SCHEMA)
    return known, sorted(spent)


def lines_only(ours: pl.DataFrame) -> pl.DataFrame:
    """Return what of our side a platform is told (LINE_SCHEMA)."""
    return ours.select(list(LINE_SCHEMA))


def _named(rows: pl.DataFrame) -> pl.DataFrame:
    columns = [*_TOLD, "source_id"]
    try:
        mapping = load_mapping(str(rows["mapping"][0]))
    except (MappingError, DataError, OSError):
        return rows.with_columns(source_id=pl.lit(None, pl.String)).select(columns)
    return rows.with_columns(read_source_ids(mapping, rows["payload"])).select(columns)
