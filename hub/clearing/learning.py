"""What clearing learns over many people, kept from window to window. I/O: the database, in the caller's transaction.

What a platform's moments and numbers mean shows where records of many people meet. The counts of each cleared window are
kept; the next windows add those of the last RECENT_WINDOWS to their own, and so do provisional results, so that a small
town's window and a single person's afternoon are read as the months before were. Only counts by platform and behaviour
are kept: keys and rides belong to people, and are looked up where they are needed.

What a window was cleared with is its own counts and those kept before it: both stay as they are, so that it can be
computed again. Order of arrival changes neither. ADR 0030.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import polars as pl
from sqlalchemy import text
from sqlalchemy.orm import Session

from hub.clearing import store
from hub.clearing.groups import bucket_range
from hub.clearing.kernel.clear import observe
from hub.clearing.kernel.codes import build_catalogue
from hub.clearing.kernel.customs import SLOTS
from hub.clearing.kernel.facts import CUSTOMS, KEYS, PARTNERS, RIDES, Evidence, merge_evidence
from standards.policy import ClearingPolicy
from standards.schema import QUANTIFIED_SCHEMA

RECENT_WINDOWS = 30
"""A month of daily windows: enough for a small town, and a platform that changed its ways is believed after a month."""
KEYS_AT_ONCE = 5_000
NOTHING = Evidence(
    keys=pl.DataFrame(schema=KEYS), rides=pl.DataFrame(schema=RIDES), customs=pl.DataFrame(schema=CUSTOMS),
    partners=pl.DataFrame(schema=PARTNERS), slots=(0,) * SLOTS,
)  # fmt: skip


def gather_window(session: Session, span: store.Span, policy: ClearingPolicy, *, groups: int) -> Evidence:
    """Gather a window's own evidence, group by group, and who shared its rides in earlier windows.

    Its counts are those that were kept, if it began to be cleared before.
    """
    parts = [NOTHING]
    for group in range(groups):
        first, end = bucket_range(group, groups)
        records = store.load_window_records(session, span.window_id, first_bucket=first, end_bucket=end)
        stands = pl.col("superseded_by").is_null() | (pl.col("superseded_by") > span.last_seq)
        told = records.filter(stands & ~pl.col("cancelled"))
        parts.append(observe(told.select(list(QUANTIFIED_SCHEMA)), None, policy))
    own = merge_evidence(parts)
    if kept := _kept(session, "window_id = :w", w=span.window_id):
        own = _parse(own, kept)
    return merge_evidence([own, find_rides_elsewhere(session, own.rides, span, policy)])


def gather_people(
    session: Session, span: store.Span, new: pl.DataFrame, live: pl.DataFrame, policy: ClearingPolicy
) -> Evidence:
    """Gather what some people's records hold (arguments as for `kernel.observe`), and who else shared their rides."""
    own = observe(new, live, policy)
    return merge_evidence([NOTHING, own, find_rides_elsewhere(session, own.rides, span, policy)])


def load_before(session: Session, window_id: int) -> Evidence:
    """Load the counts of the last windows before this one; keys and rides are empty."""
    found = _kept(session, "window_id < :w AND window_id >= :since", w=window_id, since=window_id - RECENT_WINDOWS)
    return _parse(NOTHING, found)


def keep_counts(session: Session, window_id: int, own: Evidence) -> None:
    """Keep a window's counts; those that are kept already stay."""
    counts = {
        "customs": own.customs.sort("platform", "behaviour").to_dict(as_series=False),
        "partners": own.partners.sort("platform", "other").to_dict(as_series=False),
        "slots": own.slots,
    }
    session.execute(
        text("INSERT INTO window_learning (window_id, counts) VALUES (:w, :c) ON CONFLICT (window_id) DO NOTHING"),
        {"w": window_id, "c": json.dumps(counts, ensure_ascii=False, sort_keys=True, separators=(",", ":"))},
    )


def find_rides_elsewhere(session: Session, rides: pl.DataFrame, span: store.Span, policy: ClearingPolicy) -> Evidence:
    """Find who else shared the rides of some people (RIDES): each counts with one, in whichever window each was told.

    Returns:
        What the records of other people up to the span's end say about these keys; no counts.
    """
    catalogue = build_catalogue(policy.role_order)
    shared = [catalogue.behaviours[code] for code in catalogue.shared(policy)]
    keys = rides["event_key"].unique().sort()
    mine = rides.select("event_key", "subject_id")
    parts = [NOTHING]
    for start in range(0, len(keys), KEYS_AT_ONCE):
        some = keys.slice(start, KEYS_AT_ONCE).reinterpret(signed=True).to_list()
        new, live = store.load_sharers(session, span, some, shared)
        others = [frame.join(mine, on=["event_key", "subject_id"], how="anti") for frame in (new, live)]
        seen = observe(others[0], others[1], policy)
        parts.append(replace(NOTHING, keys=seen.keys, rides=seen.rides))
    return merge_evidence(parts)


def _kept(session: Session, which: str, **params: int) -> list[dict[str, Any]]:
    rows = session.execute(text(f"SELECT counts FROM window_learning WHERE {which} ORDER BY window_id"), params)
    return [json.loads(counts) for counts in rows.scalars()]


def _parse(beside: Evidence, kept: Sequence[dict[str, Any]]) -> Evidence:
    """Return `beside` with the counts that were kept instead of its own."""
    parts = [
        replace(
            NOTHING,
            customs=_counts(one["customs"], CUSTOMS),
            partners=_counts(one["partners"], PARTNERS),
            slots=tuple(one["slots"]),
        )
        for one in kept
    ]
    total = merge_evidence([NOTHING, *parts])
    return replace(beside, customs=total.customs, partners=total.partners, slots=total.slots)


def _counts(columns: dict[str, Any], schema: pl.Schema) -> pl.DataFrame:
    """A kind of count that a later version of the hub began with is zero in what an earlier one kept."""
    frame = pl.DataFrame({name: values for name, values in columns.items() if name in schema})
    absent = [pl.lit(0, kind).alias(name) for name, kind in schema.items() if name not in frame.columns]
    return frame.with_columns(absent).select(list(schema)).cast(schema)
