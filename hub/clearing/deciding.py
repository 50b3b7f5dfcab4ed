"""Decide about records of the database: consent, versions, earlier windows, then the pure kernel. I/O: the database."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy.orm import Session

from consent.guard import permit
from consent.terms import HUB, Purpose
from hub.clearing import learning, store
from hub.clearing.adoption import policy_of_window
from hub.clearing.kernel.clear import clear
from hub.clearing.kernel.facts import Evidence, Facts, conclude, merge_evidence
from hub.clearing.reviews.holds import load_released
from hub.clearing.reviews.reviews import waived_records
from hub.clearing.store import Span
from hub.clearing.versions import complete, prepare, reopen
from hub.clearing.windows import load_span
from hub.ledger import postings
from hub.ledger.store import append_entries, load_issued
from standards.schema import EVENT_SCHEMA


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """Decisions (DECISION plus subject_id, platform), events (EVENT) and reversals (`versions.Reopened`)."""

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
            "decided_anew_count": int(self.reversals["decided_anew"].sum() or 0),
            "counted_mg": int(self.decisions["counted_mg"].sum() or 0),
        }


def decide_bucket(
    session: Session, span: Span, *, first_bucket: int, end_bucket: int, facts: Facts, now: datetime
) -> Decided:
    """Run the people of some buckets of a sealed window through clearing; `facts` were learnt over the whole window."""
    buckets = {"first_bucket": first_bucket, "end_bucket": end_bucket}
    records = store.load_window_records(session, span.window_id, **buckets)
    earlier = store.load_earlier(session, span, **buckets)
    return decide(session, span, records, earlier, facts=facts, now=now)


def decide_people(session: Session, span: Span, people: list[int], *, now: datetime) -> Decided:
    """Run some people of an open window through clearing: provisional results.

    With what their own records teach, who else shared their rides, and what the windows before taught.
    """
    records = store.load_subject_records(session, span.window_id, people)
    earlier = store.load_subjects_earlier(session, span, people)
    return decide(session, span, records, earlier, facts=None, now=now)


def decide(
    session: Session, span: Span, records: pl.DataFrame, earlier: pl.DataFrame, *, facts: Facts | None, now: datetime
) -> Decided:
    """Run one set of whole subjects of a window through clearing.

    No grant that was asked changes before the caller's transaction ends: nothing is cleared behind a withdrawal.

    Args:
        records: all records of these subjects in the window; earlier: what earlier windows decided about them (store).
        facts: what was learnt over the whole window; None learns from these records and the windows before.
    """
    opened = reopen(records, earlier, first_seq=span.first_seq, last_seq=span.last_seq)
    refused = refused_records(session, opened.records, Purpose.CLEAR, now)
    prepared = prepare(opened.records, refused, opened.barred)
    policy = policy_of_window(session, span.window_id)
    if facts is None:
        own = learning.gather_people(session, span, prepared.standing, opened.live, policy)
        facts = conclude(merge_evidence([own, learning.load_before(session, span.window_id)]), policy)
    waived = waived_records(load_released(session, span.window_id), earlier, opened.records)
    cleared = clear(prepared.standing, opened.live, policy, facts, waived=waived)
    whose = opened.records.select("record_id", "subject_id", "platform")
    # An act is valued by the version that its canonical record pins, whichever the hub uses for what is new.
    pinned = opened.records.select("methodology", event_id="record_id")
    events = cleared.events.drop("methodology").join(pinned, on="event_id", how="left")
    decisions = complete(prepared, cleared.decisions, opened.live)
    return Decided(
        decisions=decisions.join(whose, on="record_id", how="left"),
        events=events.select(list(EVENT_SCHEMA)),
        reversals=opened.reversals,
        policy=policy.version,
    )


def observe_window(session: Session, window_id: int, *, groups: int) -> Facts:
    """Return what clearing takes for known in a window (`learn_window`)."""
    return learn_window(session, window_id, groups=groups)[1]


def learn_window(session: Session, window_id: int, *, groups: int) -> tuple[Evidence, Facts]:
    """Learn over a whole window what no single bucket can know (shared keys, end-of-act payments), group by group.

    What the windows before it taught is added, so that a small window is read as they were. Returns the window's own
    evidence, to be kept for the windows after it, and what follows from both.
    """
    policy = policy_of_window(session, window_id)
    own = learning.gather_window(session, load_span(session, window_id), policy, groups=groups)
    return own, conclude(merge_evidence([own, learning.load_before(session, window_id)]), policy)


def refused_records(session: Session, records: pl.DataFrame, purpose: Purpose, now: datetime) -> pl.DataFrame:
    """Ask the guard about records of the store; returns record_id and reason of those refused.

    What is asked stays as it is until the transaction ends, as where records are collected: a withdrawal that is told to
    the person as done is never followed by an act that is cleared or credited on the grant it ended.
    """
    numbered = records.with_row_index("row")
    asked = numbered.select("row", "subject_id", "platform", "behaviour", at="start_at")
    permission = permit(session, purpose=purpose, recipient=HUB, asked=asked, now=now, hold=True)
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
