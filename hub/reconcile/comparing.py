"""Compare a platform's statement with ours, keep the result, move the breaks, and log it. I/O: the database.

    our side is read and the records are paired in a snapshot -> result, breaks and leaf are written in one transaction

A sealed window's records do not change, so nothing can come between the two but an erasure, which the next comparison sees.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

import polars as pl
from sqlalchemy import text
from sqlalchemy.orm import Session

from connectors.base import Transport
from consent.keyring import KeyRing
from consent.seal import place
from hub.changes import log_change
from hub.clearing.windows import WindowState, require_window
from hub.context import Hub
from hub.db import reading, writing
from hub.errors import Conflict, UsageProblem
from hub.log.leaves import Kind
from hub.participants import Platform, open_platform
from hub.reconcile.breaks import DELIVERIES, Moved, Place, follow_comparison
from hub.reconcile.deliveries import (
    BREAKS,
    LINES_WANTED,
    MATCHED,
    Compared,
    as_breaks,
    compare,
    load_elsewhere_deliveries,
    load_statement,
    store_comparison,
)
from hub.reconcile.documents import ToldStream
from hub.reconcile.lines import BREAK_SCHEMA, Paired, Totals, compare_lines, totals_of
from hub.reconcile.ours import feeds_of, is_numbered, load_elsewhere, load_ours, load_period
from hub.reconcile.tables import StreamReconciliation
from hub.records.naming import load_naming

_IDS_IN_A_LEAF = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedStream:
    """Both sides of one stream; `paired` is None where the totals differ and no lines were told."""

    stream: str
    numbered: bool
    ours: Totals
    theirs: Totals
    paired: Paired | None

    @property
    def state(self) -> str:
        if self.paired is None:
            return LINES_WANTED
        return MATCHED if self.paired.breaks.is_empty() else BREAKS


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What a statement came to: the worst state of all that was compared, the deliveries, each stream, and what moved."""

    state: str
    deliveries: Compared | None
    streams: tuple[ComparedStream, ...]
    moved: Moved

    @property
    def breaks(self) -> pl.DataFrame:
        """The breaks of deliveries (delivery_id, kind, ours, theirs)."""
        return pl.DataFrame() if self.deliveries is None else self.deliveries.breaks


OurSides = Mapping[str, pl.DataFrame]


def load_our_sides(hub: Hub, window_id: int, platform_id: str, streams: Sequence[ToldStream]) -> OurSides:
    """Load our side (OURS_SCHEMA) of each stream that a statement names.

    Raises:
        UsageProblem: the platform has no such stream. NotFound: there is no such window.
    """
    with reading(hub.engine) as session:
        platform = open_platform(session, hub.ring, platform_id)
        load_period(session, window_id)
        feeds = [feeds_of(platform)[stream_of(platform, told)] for told in streams]
        return {feed.stream: load_ours(session, hub.ring, platform_id, feed, window_id) for feed in feeds}


def stream_of(platform: Platform, told: ToldStream) -> str:
    """Return the stream that a statement's part is about; raises UsageProblem for one whose records it cannot name."""
    stream = platform.feeds[0].stream if told.stream is None else told.stream
    if stream not in feeds_of(platform):
        raise UsageProblem("the statement names a stream whose records this participant does not tell")
    return stream


def record_statement(
    hub: Hub,
    window_id: int,
    platform_id: str,
    theirs: pl.DataFrame | None,
    *,
    now: datetime,
    streams: Sequence[ToldStream] = (),
    ours: OurSides | None = None,
) -> Recorded:
    """Compare a platform's statement with ours, keep the result and log it, in one transaction.

    Args:
        theirs: deliveries; None where the statement names none.
        ours: of `load_our_sides`, where they were loaded already.

    Raises:
        NotFound: there is no such window. Conflict: it is open still. UsageProblem: a stream that the platform has not.
    """
    compared_streams = _compare_streams(hub, window_id, platform_id, streams, ours) if streams else ()
    with writing(hub.engine) as session:
        _require_sealed(session, window_id)
        platform = open_platform(session, hub.ring, platform_id)
        deliveries = None if theirs is None else _compare_deliveries(session, platform, window_id, theirs)
        reference = f"{window_id}:{platform_id}:{now.isoformat()}"
        moved = _follow(session, hub.ring, window_id, platform_id, deliveries, compared_streams, reference, now)
        for one in compared_streams:
            _store_stream(session, hub.ring, window_id, platform_id, one, reference, now)
        row = store_comparison(
            session, window_id, platform_id, deliveries, streams=_states(session, window_id, platform_id), now=now
        )
        shown = 0 if deliveries is None else len(deliveries.breaks)
        shown += sum(len(one.paired.breaks) for one in compared_streams if one.paired is not None)
        fields: dict[str, Any] = {
            "window": window_id, "participant": platform_id, "outcome": row.state, "ours_count": row.ours_deliveries,
            "theirs_count": row.theirs_deliveries or 0, "breaks_count": shown,
        }  # fmt: skip
        log_change(session, Kind.RECONCILIATION_DONE, reference, now, fields | _told(compared_streams) | _ids(moved))
        return Recorded(state=row.state, deliveries=deliveries, streams=tuple(compared_streams), moved=moved)


def digest_place(side: str, window_id: int, platform: str, stream: str) -> bytes:
    """The place to which a stream's digest is sealed; `side` is ours or theirs."""
    where = f"{window_id}/{platform}/{stream}"
    if side == "ours":
        return place("stream_reconciliation", "ours_digest", where, None)
    return place("stream_reconciliation", "theirs_digest", where, None)


def _compare_streams(
    hub: Hub, window_id: int, platform_id: str, streams: Sequence[ToldStream], ours: OurSides | None
) -> tuple[ComparedStream, ...]:
    with reading(hub.engine) as session:
        until_us = load_period(session, window_id).until_us
    if until_us is None:
        raise _still_open(window_id)
    sides = load_our_sides(hub, window_id, platform_id, streams) if ours is None else ours
    with reading(hub.engine) as session:
        platform = open_platform(session, hub.ring, platform_id)
        compared = [
            _compare_stream(session, hub.ring, platform, sides, told, window_id=window_id, until_us=until_us)
            for told in streams
        ]
    names = [one.stream for one in compared]
    if len(set(names)) != len(names):
        raise UsageProblem("the statement names a stream twice")
    return tuple(compared)


def _compare_stream(
    session: Session,
    ring: KeyRing,
    platform: Platform,
    sides: OurSides,
    told: ToldStream,
    *,
    window_id: int,
    until_us: int,
) -> ComparedStream:
    stream = stream_of(platform, told)
    feed, mine = feeds_of(platform)[stream], sides[stream]
    totals, paired = totals_of(mine), None
    if totals == told.totals and told.lines is None:
        nothing = pl.DataFrame(schema=BREAK_SCHEMA)
        paired = Paired(matched=totals.records, matched_mg=totals.claimed_mg, breaks=nothing)
    elif told.lines is not None:
        theirs = told.lines
        unknown = theirs.join(mine, on="source_id", how="anti")["source_id"]
        elsewhere, spent = load_elsewhere(session, ring, platform.platform_id, feed, unknown.to_list())
        theirs = theirs.filter(~pl.col("source_id").is_in(spent))
        paired = compare_lines(mine, theirs, elsewhere, window_id=window_id, until_us=until_us)
    return ComparedStream(
        stream=stream, numbered=is_numbered(feed), ours=totals, theirs=told.totals, paired=paired
    )  # fmt: skip


def _compare_deliveries(session: Session, platform: Platform, window_id: int, theirs: pl.DataFrame) -> Compared:
    known = load_elsewhere_deliveries(session, window_id, platform.platform_id)
    theirs = theirs.join(known, on="delivery_id", how="anti")
    ours = load_statement(session, window_id, platform.platform_id)
    return compare(ours, _without_empty_answers(platform, ours, theirs))


def _without_empty_answers(platform: Platform, ours: pl.DataFrame, theirs: pl.DataFrame) -> pl.DataFrame:
    """Leave out what the hub asked for and found nothing new in: such answers leave no batch here.

    A line says which stream it is of; one that does not is of the first.
    """
    if "stream" not in theirs.columns:
        theirs = theirs.with_columns(stream=pl.lit(None, pl.String))
    first = platform.feeds[0].stream
    pulled = [feed.stream for feed in platform.feeds if feed.connector.describe().transport is Transport.PULL]
    asked_for = pl.col("stream").fill_null(first).is_in(pulled)
    known = pl.col("delivery_id").is_in(ours["delivery_id"].implode())
    # A delivery without a row, an empty drop for one, leaves nothing to compare.
    return theirs.filter(known | (~asked_for & (pl.col("rows") > 0))).drop("stream")


def _follow(
    session: Session,
    ring: KeyRing,
    window_id: int,
    platform_id: str,
    deliveries: Compared | None,
    streams: Sequence[ComparedStream],
    reference: str,
    now: datetime,
) -> Moved:
    naming, moved = load_naming(session, ring), Moved()
    found = [(one.stream, one.paired.breaks) for one in streams if one.paired is not None]
    if deliveries is not None:
        found.append((DELIVERIES, as_breaks(deliveries)))
    for stream, breaks in found:
        where = Place(window_id=window_id, platform=platform_id, stream=stream, comparison=reference)
        moved += follow_comparison(session, ring, naming, where, breaks, now)
    return moved


def _store_stream(
    session: Session,
    ring: KeyRing,
    window_id: int,
    platform_id: str,
    one: ComparedStream,
    reference: str,
    now: datetime,
) -> None:
    key = (window_id, platform_id, one.stream)
    session.merge(
        StreamReconciliation(
            window_id=window_id, platform=platform_id, stream=one.stream, state=one.state,
            ours_count=one.ours.records, ours_mg=one.ours.claimed_mg,
            ours_digest=ring.seal(one.ours.digest, digest_place("ours", *key)),
            theirs_count=one.theirs.records, theirs_mg=one.theirs.claimed_mg,
            theirs_digest=ring.seal(one.theirs.digest, digest_place("theirs", *key)),
            same_digest=one.ours.digest == one.theirs.digest,
            matched_count=None if one.paired is None else one.paired.matched,
            matched_mg=None if one.paired is None else one.paired.matched_mg,
            numbered=one.numbered, comparison=reference, compared_at=now,
        )
    )  # fmt: skip
    session.flush()


def _states(session: Session, window_id: int, platform_id: str) -> set[str]:
    sql = text("SELECT DISTINCT state FROM stream_reconciliation WHERE window_id = :w AND platform = :p")
    return set(session.execute(sql, {"w": window_id, "p": platform_id}).scalars())


def _told(streams: Sequence[ComparedStream]) -> dict[str, Any]:
    """What the leaf says of streams: no digest, for who knows the form of ids could find a lone record's by trying."""
    if not streams:
        return {}
    told = [
        {
            "stream": one.stream, "outcome": one.state, "same_digest": one.ours.digest == one.theirs.digest,
            "ours_count": one.ours.records, "theirs_count": one.theirs.records,
            "ours_mg": one.ours.claimed_mg, "theirs_mg": one.theirs.claimed_mg,
        }
        for one in streams
    ]  # fmt: skip
    return {"streams": told}


def _ids(moved: Moved) -> dict[str, Any]:
    """Which breaks opened and closed: their numbers where they are few, and always how many and a digest of the numbers."""
    told: dict[str, Any] = {}
    for name, numbers in (("opened", sorted(moved.opened)), ("closed", sorted(moved.closed))):
        if not numbers:
            continue
        told[f"{name}_count"] = len(numbers)
        told[f"{name}_digest"] = sha256(",".join(map(str, numbers)).encode()).digest()
        if len(numbers) <= _IDS_IN_A_LEAF:
            told[f"{name}_breaks"] = [str(number) for number in numbers]
    return told


def _require_sealed(session: Session, window_id: int) -> None:
    if require_window(session, window_id).state == WindowState.OPEN:
        raise _still_open(window_id)


def _still_open(window_id: int) -> Conflict:
    return Conflict(f"window {window_id} is still open; statements are compared when it is sealed")
