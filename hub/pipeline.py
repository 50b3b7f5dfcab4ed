"""The life of a record, as a table and as code. I/O: the database; the rules behind each step are pure and named in FLOW.

Read this file first. Everything travels in batches; a batch of one row takes the same road as a batch of a hundred
thousand. Each function below is one transaction (or a loop of them): the change, its entries and its log leaf commit
together or not at all, so a process may die at any line and the next run goes on from what was committed.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import polars as pl
from sqlalchemy.orm import Session

from connectors.base import Delivery, Outcome
from consent.terms import Purpose
from hub.attestations.overstated import revoke_overstated_by
from hub.changes import log_change, log_changes
from hub.clearing import store as clearing_store
from hub.clearing.deciding import Decided, credit, decide_bucket, decide_people, learn_window
from hub.clearing.final import Manifest, make_manifest, require_finalisable
from hub.clearing.groups import bucket_range
from hub.clearing.kernel.facts import Facts
from hub.clearing.learning import keep_counts
from hub.clearing.windows import (
    Sealed,
    WindowState,
    advance,
    find_open_window,
    join_open_window,
    load_span,
    load_uncleared,
    require_window,
    seal,
)
from hub.context import Hub
from hub.db import lock, reading, writing
from hub.disputes.locking import release_locks
from hub.errors import Busy, Conflict
from hub.exchange.leaves import exchange_fields
from hub.failpoints import failpoint
from hub.ledger import postings
from hub.ledger.store import append_entries, load_pending
from hub.log.leaves import Kind
from hub.participants import Feed, Platform
from hub.records.collect import Origin, collect, read_for
from hub.records.quarantine import RowState, find_open_rows, load_waiting, note_tried, settle
from hub.records.reading import SET_ASIDE_SCHEMA
from hub.records.store import find_batches
from hub.records.tables import Batch
from hub.sync.cursors import Held, find_lost, save_cursors
from standards.uses import load_use_rules


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One line of FLOW; tests/architecture keeps the table true."""

    name: str
    rules: str
    reads: str
    writes: str
    purpose: Purpose | None


FLOW = (
    Step(name="collect", rules="hub.records.intake", reads="delivery", writes="source_record", purpose=Purpose.COLLECT),
    Step(name="translate", rules="mappings.translate", reads="delivery", writes="translated row", purpose=Purpose.COLLECT),
    Step(name="quantify", rules="standards.quantify", reads="translated row", writes="reduction_record", purpose=Purpose.COLLECT),
    Step(name="clear", rules="hub.clearing.kernel.clear", reads="reduction_record", writes="decision", purpose=Purpose.CLEAR),
    Step(name="credit", rules="hub.ledger.postings", reads="decision", writes="journal_entry", purpose=Purpose.CREDIT),
    Step(name="log", rules="hub.log.leaves", reads="every step", writes="log_leaf", purpose=None),
)  # fmt: skip


def take_delivery(
    hub: Hub, platform: Platform, delivery: Delivery, *, now: datetime, held: Held | None = None
) -> Outcome:
    """Collect, translate, quantify and store one delivery: a group of one.

    Raises:
        Conflict: the delivery id came before with other bytes, or the lease was lost; nothing is stored.
    """
    taken = take_deliveries(hub, platform, [delivery], now=now, held=[] if held is None else [held])[0]
    if taken is None:
        raise Conflict("another worker took this link over")
    return taken


def take_deliveries(
    hub: Hub, platform: Platform, deliveries: Sequence[Delivery], *, now: datetime, held: Sequence[Held] = ()
) -> list[Outcome | None]:
    """Collect, translate, quantify and store some deliveries of one feed.

    The rows, the marks for clearing, the log leaves and the cursors commit together. A delivery that came before under the
    same id and with the same bytes changes nothing and gets the same answer.

    Args:
        held: for what the hub fetched, beside each delivery: the lease it holds and the cursor to move with the rows.

    Returns:
        For each delivery what became of it; None where its lease was lost meanwhile: nothing of it is stored.

    Raises:
        Conflict: a delivery id came before with other bytes; nothing of the group is stored.
    """
    feed = platform.feed(deliveries[0].stream)
    read = read_for(hub, feed, deliveries, now)
    origin = Origin.FETCHED if held else Origin.RECEIVED
    with writing(hub.engine) as session:
        lost = find_lost(session, held)
        ids = [delivery.delivery_id for delivery in deliveries]
        before = find_batches(session, platform.platform_id, feed.stream, ids)
        answers: list[Outcome | None] = [
            _same_answer(before[one.delivery_id], one) if one.delivery_id in before else None for one in deliveries
        ]
        new = [place for place, one in enumerate(deliveries) if one.delivery_id not in before and place not in lost]
        if new:
            told = [deliveries[place] for place in new]
            taken = collect(session, hub, platform, feed, told, read.only(new), origin=origin, now=now)
            _log_batches(session, feed, [one.batch for one in taken if one.batch is not None], now=now)
            for place, one in zip(new, taken, strict=True):
                answers[place] = one.outcome
        save_cursors(session, hub.ring, [one for place, one in enumerate(held) if place not in lost])
        failpoint("collect.before_commit")
    failpoint("collect.after_commit")
    return [None if place in lost else answer for place, answer in enumerate(answers)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What became of some rows of the quarantine; `last` is the number to go on after."""

    last: int
    rows: int
    translated: int
    outcome: Outcome


def replay_quarantined(
    hub: Hub,
    platform: Platform,
    feed: Feed | None = None,
    *,
    after: int = 0,
    limit: int = 500,
    tried_too: bool = False,
    now: datetime,
) -> Replayed | None:
    """Translate the next rows of a feed (the first one) that were set aside with today's mapping, and take what translates.

    They go the same way as any delivery: owner and consent are asked for anew, and what came meanwhile is not taken
    twice. The rest stays where it is. Returns None if nothing is left to try.
    """
    feed = feed or platform.feeds[0]
    with writing(hub.engine) as session:
        lock(session, "replay_quarantined")
        waiting = load_waiting(session, hub.ring, platform, feed, after=after, limit=limit, tried_too=tried_too)
        if not waiting.ids:
            return None
        delivery = waiting.delivery(feed.stream)
        read = read_for(hub, feed, [delivery], now)
        good = [waiting.ids[row] for row in read.records["row"]]
        settle(session, good, RowState.REPLAYED)
        note_tried(session, sorted(set(waiting.ids) - set(good)), feed.mapping)
        outcome = Outcome()
        if good:
            read = replace(read, rows=(len(good),), aside=pl.DataFrame(schema=SET_ASIDE_SCHEMA))
            taken = collect(session, hub, platform, feed, [delivery], read, origin=Origin.REPLAYED, now=now)
            outcome = taken[0].outcome
            _log_batches(session, feed, [one.batch for one in taken if one.batch is not None], now=now)
        failpoint("replay.before_commit")
    return Replayed(last=waiting.ids[-1], rows=len(waiting.ids), translated=len(good), outcome=outcome)


def discard_quarantined(hub: Hub, rows: Sequence[int], *, now: datetime) -> None:
    """Give open rows of the quarantine up for good: their bytes are destroyed, the log tells how many and why they lay there.

    Raises:
        NotFound, Conflict: a row is not there, or not open; nothing is changed.
    """
    with writing(hub.engine) as session:
        lock(session, "replay_quarantined")
        found = find_open_rows(session, rows)
        settle(session, [row.quarantine_id for row in found], RowState.DISCARDED)
        told = Counter((row.platform, row.stream, row.reason) for row in found)
        for (platform, stream, reason), count in sorted(told.items()):
            fields = {"participant": platform, "stream": stream, "reason": reason, "rows_count": count}
            reference = f"{platform}:{stream}:{reason}:{found[0].quarantine_id}:{now.isoformat()}"
            log_change(session, Kind.ROWS_DISCARDED, reference, now, fields)


def clear_dirty(hub: Hub, *, now: datetime, limit: int = 2_000) -> int:
    """Decide anew, provisionally, for people with new records in the open window; returns how many people."""
    with writing(hub.engine) as session:
        # One worker at a time; not by locking the marks, on which every delivery would then wait.
        lock(session, "clear_dirty")
        dirty = clearing_store.take_dirty(session, limit)
        if dirty.is_empty():
            return 0
        window_id = join_open_window(session)
        people = dirty["subject_id"].to_list()
        decided = decide_people(session, load_span(session, window_id), people, now=now)
        clearing_store.replace_provisional(session, window_id, people)
        _append(session, decided, window_id, provisional=True)
        clearing_store.clean_dirty(session, dirty)
    return len(dirty)


def seal_window(hub: Hub, *, now: datetime, window_id: int | None = None) -> Sealed:
    """Seal the open window and open the next: one row changed, one added, one leaf, whatever the window's size.

    Args:
        window_id: the window that the caller means, if it matters.

    Raises:
        Busy: somebody else has sealed that window already.
    """
    with writing(hub.engine) as session:
        # Who had waited for the open window's row only would find it sealed and the new one not visible yet.
        lock(session, "seal_window")
        open_now = find_open_window(session)
        if window_id is not None and (open_now is None or open_now.window_id != window_id):
            raise Busy(f"window {window_id} is sealed already")
        sealed = seal(session, now, group_records=hub.settings.clear_group_records)
        fields = {"window": sealed.window_id, "sequence_count": sealed.size}
        opened = {"window": sealed.window_id + 1, "methodology": hub.settings.methodology}
        log_changes(
            session,
            now,
            [
                (Kind.WINDOW_SEALED, f"{sealed.window_id}", fields),
                (Kind.WINDOW_OPENED, f"{sealed.window_id + 1}", opened),
            ],
        )
    failpoint("seal.after_commit")
    return sealed


def clear_sealed(hub: Hub, *, now: datetime) -> int | None:
    """Clear the oldest sealed window group by group and post its grams as pending; returns its id, None if there is none.

    What it teaches of platforms is kept before anything of it is decided: a run that goes on later takes the same for known.

    Each group of buckets is one transaction that also moves the window's marker: a run that dies goes on where it was.
    """
    with reading(hub.engine) as session:
        window = load_uncleared(session)
        if window is None:
            return None
        window_id = window.window_id
        own, facts = learn_window(session, window_id, groups=window.groups or 1)
    with writing(hub.engine) as session:
        keep_counts(session, window_id, own)
    while clear_group(hub, window_id, facts, now=now):
        pass
    return window_id


def clear_group(hub: Hub, window_id: int, facts: Facts, *, now: datetime) -> bool:
    """Clear the next group of a sealed window: decisions, events, entries, leaf and marker; False if none is left."""
    with writing(hub.engine) as session:
        lock(session, clearing_store.TAKE_BACK)
        window = require_window(session, window_id)
        if window.cleared_at is not None or window.groups is None or window.last_seq is None:
            return False
        first, end = bucket_range(window.groups_cleared, window.groups)
        decided = decide_bucket(
            session, load_span(session, window_id), first_bucket=first, end_bucket=end, facts=facts, now=now
        )
        clearing_store.replace_provisional(session, window_id, decided.decisions["subject_id"].unique().to_list())
        _append(session, decided, window_id, provisional=False)
        clearing_store.append_reversals(session, decided.reversals, window_id)
        # What a dispute locks of an act that falls is what is taken back.
        release_locks(session, decided.reversals["event_id"].to_list(), window_id, now)
        entries = credit(session, decided, window_id, now)
        revoke_overstated_by(session, decided.reversals["event_id"].to_list(), now)
        window.groups_cleared += 1
        fields = {"window": window_id, "group": window.groups_cleared, "entries_count": entries, **decided.sums()}
        log_change(session, Kind.ENTRIES_POSTED, f"{window_id}:{window.groups_cleared}", now, fields)
        if window.groups_cleared == window.groups:
            window.cleared_at = now
            log_change(session, Kind.WINDOW_CLEARED, f"{window_id}", now, {"window": window_id})
        failpoint("clear.before_commit")
    failpoint("clear.after_commit")
    return True


def finalise_window(hub: Hub, window_id: int, *, now: datetime, waive_challenge: bool = False) -> Manifest:
    """Make a provisional window final: pending grams become held, the manifest's root is logged, nothing reopens.

    Raises:
        Conflict: the window is not provisional, its challenge period runs, or an earlier window is not final.
    """
    with writing(hub.engine) as session:
        window = require_window(session, window_id)
        require_finalisable(session, window, now=now, period=hub.settings.challenge_period, waived=waive_challenge)
        advance(window, WindowState.FINAL)
        entries, sides = postings.hold(
            load_pending(session, window_id), window_id, buffer_permille=load_use_rules().buffer_permille
        )
        append_entries(session, entries, sides, now)
        manifest = make_manifest(session, hub.ring, window_id)
        window.final_at, window.manifest, window.root = now, manifest.text, manifest.root
        log_change(session, Kind.WINDOW_FINAL, f"{window_id}", now, manifest.leaf_fields())
        failpoint("hold.before_commit")
    return manifest


def _same_answer(before: Batch, delivery: Delivery) -> Outcome:
    if before.digest != delivery.digest:
        raise Conflict("this delivery id came before with other content")
    return Outcome(
        accepted=before.accepted,
        refused=before.refused,
        replayed=before.replayed,
        quarantined=before.quarantined + before.conflicting,
    )


def _log_batches(session: Session, feed: Feed, batches: Sequence[Batch], *, now: datetime) -> None:
    told = [
        (Kind(f"batch.{batch.origin}"), f"{batch.batch_id}", exchange_fields(batch, feed.document.connector))
        for batch in batches
    ]
    log_changes(session, now, told)


def _append(session: Session, decided: Decided, window_id: int, *, provisional: bool) -> None:
    clearing_store.append_events(session, decided.events, window_id, provisional=provisional)
    clearing_store.append_decisions(
        session, decided.decisions, window_id, policy=decided.policy, provisional=provisional
    )
