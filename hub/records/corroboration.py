"""What an operator's list confirms without naming anybody. I/O: the database, inside the caller's transaction.

A shared-mobility operator's trip feed has no rider by design. Its rows cannot credit a person; they can say that a trip
which somebody else reported under the same number did take place. Such a row has no owner, so it asks for no consent and
holds nothing that leads to a person: the trip's number is a keyed token, places and vehicles are not kept.
"""

import polars as pl
from sqlalchemy.orm import Session

from hub.db import append_frame, load_by_ids
from hub.records.intake import Intake
from hub.records.store import Shelf


def sort_confirmations(session: Session, shelf: Shelf, records: pl.DataFrame) -> Intake:
    """Sort rows into new ones and ones that are there already; a trip is told once."""
    keys = records.with_columns(key=pl.col("event_key").reinterpret(signed=True))
    sql = "SELECT event_key FROM corroboration WHERE platform = :p AND stream = :s AND event_key IN :ids"
    known = load_by_ids(
        session, sql, {"event_key": pl.Int64()}, keys["key"].unique().to_list(), p=shelf.platform, s=shelf.stream
    )["event_key"]
    again = keys["key"].is_in(known.implode()) | (keys.select(pl.int_range(pl.len()).over("key")).to_series() > 0)
    nothing = records.clear()
    # In the order of their keys: that is the order in which the batch's root can be computed again.
    return Intake(
        fresh=keys.filter(~again).sort("delivery", "key").drop("key"),
        replayed=records.filter(again),
        conflicting=nothing,
        standing=nothing,
    )


def append_confirmations(session: Session, shelf: Shelf, fresh: pl.DataFrame) -> None:
    """Store new rows."""
    if fresh.is_empty():
        return
    rows = fresh.select(
        pl.col("event_key").reinterpret(signed=True), "behaviour", "quantity_micro", "digest", "batch_id",
        start_us=pl.col("start_at").dt.timestamp("us"), end_us=pl.col("end_at").dt.timestamp("us"),
        platform=pl.lit(shelf.platform), stream=pl.lit(shelf.stream),
    )  # fmt: skip
    append_frame(session, "corroboration", rows)


def find_confirmations(session: Session, event_ids: list[int]) -> dict[int, list[str]]:
    """Return, by event, the platforms whose lists have the trip that its records tell of: same number, times that meet."""
    if not event_ids:
        return {}
    sql = (
        "SELECT DISTINCT d.event_id, c.platform FROM decision d JOIN reduction_record r USING (record_id) "
        "JOIN corroboration c ON c.event_key = r.event_key AND c.start_us <= r.end_us AND c.end_us >= r.start_us "
        "WHERE d.event_id IN :ids ORDER BY d.event_id, c.platform"
    )
    found: dict[int, list[str]] = {}
    for event_id, platform in load_by_ids(
        session, sql, {"event_id": pl.Int64(), "platform": pl.String()}, event_ids
    ).rows():
        found.setdefault(event_id, []).append(platform)
    return found
