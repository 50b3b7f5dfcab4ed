"""Decide about records of the database: consent, versions, earlier windows, then the pure kernel. I/O: the database."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy.orm import Session

from consent.guard import permit
from consent.terms import HUB, Purpose
from hub.clearing import store
from hub.clearing.facts import Facts, conclude, merge_evidence
from hub.clearing.groups import bucket_range
from hub.clearing.kernel import clear, observe
from hub.clearing.versions import complete, prepare
from hub.ledger import postings
from hub.ledger.store import append_entries, load_issued
from standards.policy import load_policy
from standards.schema import EVENT_SCHEMA, QUANTIFIED_SCHEMA

NO_LAST_SEQ = 2**62  # an open window has no last number yet: whatever came, counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """Decisions (DECISION plus subject_id, platform), events (EVENT) and reversals (event_id, by_record_id, reason)."""

    decisions: pl.DataFrame
    events: pl.DataFrame
    reversals: pl.DataFrame
    policy: str

    def sums(self) -> dict[str, Any]:
        """Counts and the counted sum, for the log."""
        return {
            "records_count": len(self.decisions),
            "events_count": len(self.events),
            "reversals_count": len(self.reversals),
            "counted_mg": int(self.decisions["counted_mg"].sum() or 0),
        }


def decide(
    session: Session, window_id: int, records: pl.DataFrame, *, last_seq: int, facts: Facts | None, now: datetime
) -> Decided:
    """Run one set of whole subjects of a window through clearing.

    Args:
        records: all records of these subjects in the window (store.load_window_records or load_subject_records).
        facts: what was learnt over the whole window; None learns from `records` alone (provisional results).
    """
    people = records["subject_id"].unique().to_list()
    prepared = prepare(
        records,
        last_seq=last_seq,
        live=store.load_live(session, window_id, people, last_seq=last_seq),
        predecessors=store.load_predecessors(session, records["record_id"].to_list(), window_id),
        refused=refused_records(session, records, Purpose.CLEAR, now),
    )
    policy = load_policy()
    cleared = clear(prepared.standing, prepared.live, policy, facts)
    whose = records.select("record_id", "subject_id", "platform")
    # An act is valued by the version that its canonical record pins, whichever the hub uses for what is new.
    pinned = records.select("methodology", event_id="record_id")
    events = cleared.events.drop("methodology").join(pinned, on="event_id", how="left")
    return Decided(
        decisions=complete(prepared, cleared.decisions).join(whose, on="record_id", how="left"),
        events=events.select(list(EVENT_SCHEMA)),
        reversals=prepared.reversals,
        policy=policy.version,
    )


def observe_window(session: Session, window_id: int, *, groups: int) -> Facts:
    """Learn over a whole window what no single bucket can know (shared keys, end-of-act payments), group by group."""
    policy = load_policy()
    parts = []
    for group in range(groups):
        first, end = bucket_range(group, groups)
        records = store.load_window_records(session, window_id, first_bucket=first, end_bucket=end)
        parts.append(observe(records.select(list(QUANTIFIED_SCHEMA)), None, policy))
    return conclude(merge_evidence(parts), policy)


def refused_records(session: Session, records: pl.DataFrame, purpose: Purpose, now: datetime) -> pl.DataFrame:
    """Ask the guard about records of the store; returns record_id and reason of those refused."""
    numbered = records.with_row_index("row")
    asked = numbered.select("row", "subject_id", "platform", "behaviour", at="start_at")
    permission = permit(session, purpose=purpose, recipient=HUB, asked=asked, now=now)
    return numbered.join(permission.refused, on="row", how="inner").select("record_id", "reason")


def credit(session: Session, decided: Decided, window_id: int, now: datetime) -> int:
    """Post the grams of cleared events as pending and take back those of reversed ones; returns the entries posted."""
    reversed_issues = load_issued(session, decided.reversals["event_id"].to_list())
    entries, sides = postings.reverse(reversed_issues, window_id, "superseded_version")
    posted = append_entries(session, entries, sides, now)
    counted = decided.decisions.filter(pl.col("verdict") == "counted").select("record_id", "event_id", "platform")
    events = decided.events.join(counted, on="event_id", how="inner")
    refused = refused_records(session, events, Purpose.CREDIT, now)
    events = events.join(refused, on="record_id", how="anti")
    entries, sides = postings.issue(events, window_id)
    return posted + append_entries(session, entries, sides, now)
