"""Breaks as they are kept: opened and closed by comparisons, proposed and signed by both sides. I/O: the database.

A break that a comparison shows again is the same break, whatever was signed; one that was gone and returns is a new one. The
platform's own id is sealed and kept while the break lives, its token as that of a source record; what is gone needs neither.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy import bindparam, text
from sqlalchemy.orm import Session
from sqlmodel import col, select

from consent.keyring import KeyRing
from consent.seal import place
from consent.types import UtcDateTime
from hub.changes import log_change
from hub.columns import instant_text
from hub.db import INSERT_CHUNK, append_frame, load_frame, next_sequence
from hub.errors import NotFound
from hub.log.leaves import Kind
from hub.reconcile import rules
from hub.reconcile.lines import BreakKind
from hub.reconcile.rules import Closed, Proposal, Side, Standing, State
from hub.reconcile.tables import StatementBreak
from hub.records.naming import Naming, token_of

DELIVERIES = ""
"""Stands for a stream where breaks are of deliveries."""
_KNOWN: dict[str, Any] = {
    "break_id": pl.Int64(), "what": pl.String(), "kind": pl.String(), "ours": pl.Int64(), "theirs": pl.Int64(),
    "is_closed": pl.Int64(),
}  # fmt: skip
_SAME = ["what", "kind", "ours", "theirs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What was compared, and the reference of the leaf that tells of it."""

    window_id: int
    platform: str
    stream: str
    comparison: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """Numbers of the breaks that a comparison opened and closed."""

    opened: tuple[int, ...] = ()
    closed: tuple[int, ...] = ()

    def __add__(self, other: "Moved") -> "Moved":
        return Moved(opened=self.opened + other.opened, closed=self.closed + other.closed)


def follow_comparison(
    session: Session, ring: KeyRing, naming: Naming, where: Place, found: pl.DataFrame, now: datetime
) -> Moved:
    """Open what a comparison shows for the first time (BREAK_SCHEMA) and close what it does not show any more.

    What both sides have signed stays settled while the same difference shows.
    """
    known = _load_known(session, where)
    found = found.with_columns(what=_what(naming, found, known))
    fresh = found.join(known, on=_SAME, how="anti", nulls_equal=True, maintain_order="left")
    gone = known.filter(pl.col("is_closed") == 0).join(found, on=_SAME, how="anti", nulls_equal=True)
    opened = next_sequence(session, "break", len(fresh))
    append_frame(session, StatementBreak.__tablename__, _rows(session, ring, where, fresh, opened, now))
    closed = gone["break_id"].sort().to_list()
    _close_gone(session, closed, where, now)
    return Moved(opened=tuple(opened), closed=tuple(closed))


def break_place(break_id: int) -> bytes:
    """The place to which a break's source id is sealed."""
    return place("statement_break", "source_sealed", break_id, None)


def open_source_id(ring: KeyRing, row: StatementBreak) -> str | None:
    """Return the platform's own id of the record; None for deliveries and for what is closed."""
    return None if row.source_sealed is None else ring.open(row.source_sealed, break_place(row.break_id)).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which breaks to look at."""

    window_id: int | None = None
    platform: str | None = None
    state: State | None = None
    live: bool = False
    after: int = 0


def load_breaks(session: Session, wanted: Wanted, *, limit: int) -> list[StatementBreak]:
    """Load breaks by number."""
    query = select(StatementBreak).where(col(StatementBreak.break_id) > wanted.after)
    if wanted.window_id is not None:
        query = query.where(col(StatementBreak.window_id) == wanted.window_id)
    if wanted.platform is not None:
        query = query.where(col(StatementBreak.platform) == wanted.platform)
    if wanted.state is not None:
        query = query.where(col(StatementBreak.state) == str(wanted.state))
    if wanted.live:
        query = query.where(col(StatementBreak.closed_at).is_(None))
    return list(session.execute(query.order_by(col(StatementBreak.break_id)).limit(limit)).scalars())


def require_break(
    session: Session, break_id: int, *, platform: str | None = None, hold: bool = False
) -> StatementBreak:
    """Load a break; another platform's is not there. Raises NotFound.

    Args:
        hold: until the transaction ends, for changing it.
    """
    query = select(StatementBreak).where(col(StatementBreak.break_id) == break_id)
    row = session.execute(query.with_for_update() if hold else query).scalar_one_or_none()
    if row is None or platform not in (None, row.platform):
        raise NotFound(f"there is no break {break_id}")
    return row


def propose(
    session: Session, row: StatementBreak, proposal: str, *, note: str, by: str, side: Side, now: datetime
) -> None:
    """Propose what becomes of a break; takes back what was signed. Raises Conflict, UsageProblem."""
    note = rules.require_note(note)
    after = rules.proposed(_standing(row), proposal)
    _move(row, after)
    row.note, row.proposed_by, row.proposed_at = note, f"{side}:{by}", now
    row.platform_signed_by = row.platform_signed_at = row.hub_signed_by = row.hub_signed_at = None
    _log_step(session, row, side, "proposed", now)


def sign(session: Session, row: StatementBreak, proposal: str, *, by: str, side: Side, now: datetime) -> None:
    """Sign what is proposed for a break; the second side's signature closes it. Raises Conflict, UsageProblem."""
    before = _standing(row)
    after = rules.signed(before, proposal, side)
    if after == before:
        return
    _move(row, after)
    who = f"{side}:{by}"
    if side is Side.PLATFORM:
        row.platform_signed_by, row.platform_signed_at = who, now
    else:
        row.hub_signed_by, row.hub_signed_at = who, now
    if after.state is State.CLOSED:
        row.closed_at, row.closed_why = now, str(Closed.SIGNED)
        row.source_sealed = None
        row.closed_by = f"{row.break_id}:{row.steps + 1}"
    _log_step(session, row, side, "signed", now)


def _load_known(session: Session, where: Place) -> pl.DataFrame:
    sql = (
        "SELECT break_id, COALESCE(delivery_id, source_id), kind, ours, theirs, "
        "CASE WHEN closed_at IS NULL THEN 0 ELSE 1 END FROM statement_break "
        "WHERE window_id = :w AND platform = :p AND stream = :s AND (closed_at IS NULL OR closed_why = :signed)"
    )
    params = {"w": where.window_id, "p": where.platform, "s": where.stream, "signed": str(Closed.SIGNED)}
    return load_frame(session, sql, _KNOWN, **params)


def _what(naming: Naming, found: pl.DataFrame, known: pl.DataFrame) -> pl.Series:
    """Name what each break is about: the delivery, the record's stored token, or the token that it would get.

    After a rotation of keys what is known under an older key keeps its name, so that it stays the same break.
    """
    told, nameless = set(known["what"].to_list()), found.filter(pl.coalesce("delivery_id", "token").is_null())
    made = {}
    for source in nameless["source_id"]:
        tokens = [token_of(key, source) for key in (naming.current, *naming.older)]
        made[source] = next((token for token in tokens if token in told), tokens[0])
    names = pl.DataFrame(
        {"source_id": list(made), "made": list(made.values())}, schema={"source_id": pl.String, "made": pl.String}
    )
    joined = found.join(names, on="source_id", how="left", maintain_order="left")
    return joined.select(pl.coalesce("delivery_id", "token", "made").alias("what")).to_series()


def _rows(
    session: Session, ring: KeyRing, where: Place, fresh: pl.DataFrame, numbers: Sequence[int], now: datetime
) -> pl.DataFrame:
    begun = {str(kind): rules.opened(kind) for kind in BreakKind}
    kinds = pl.DataFrame(
        {
            "kind": list(begun),
            "owner": [str(one.owner) for one in begun.values()],
            "proposal": [str(one.proposal) for one in begun.values()],
        }
    )
    sealed = [
        None if source is None else ring.seal(source.encode(), break_place(number))
        for number, source in zip(numbers, fresh["source_id"], strict=True)
    ]
    return fresh.join(kinds, on="kind", how="left", maintain_order="left").select(
        pl.Series("break_id", numbers, dtype=pl.Int64()),
        pl.lit(where.window_id, pl.Int64()).alias("window_id"),
        pl.lit(where.platform).alias("platform"),
        pl.lit(where.stream).alias("stream"),
        "record_id",
        pl.when(pl.col("delivery_id").is_null()).then("what").alias("source_id"),
        pl.Series("source_sealed", sealed, dtype=pl.Binary()),
        "delivery_id", "kind", "ours", "theirs", "mg", "owner", "proposal",
        pl.lit(str(State.OPEN)).alias("state"),
        pl.lit(0, pl.Int64()).alias("steps"),
        pl.lit("").alias("note"),
        pl.lit(instant_text(session, now)).alias("opened_at"),
        pl.lit(where.comparison).alias("opened_by"),
    )  # fmt: skip


def _close_gone(session: Session, closed: Sequence[int], where: Place, now: datetime) -> None:
    sql = text(
        "UPDATE statement_break SET state = :closed, closed_at = :now, closed_why = :gone, closed_by = :comparison, "
        "source_id = NULL, source_sealed = NULL WHERE break_id IN :ids"
    ).bindparams(bindparam("ids", expanding=True), bindparam("now", type_=UtcDateTime()))
    for start in range(0, len(closed), INSERT_CHUNK):
        params = {"closed": str(State.CLOSED), "gone": str(Closed.GONE), "comparison": where.comparison, "now": now}
        session.execute(sql, params | {"ids": list(closed[start : start + INSERT_CHUNK])})


def _standing(row: StatementBreak) -> Standing:
    return Standing(
        kind=BreakKind(row.kind), state=State(row.state), owner=Side(row.owner), proposal=Proposal(row.proposal),
        platform_signed=row.platform_signed_at is not None, hub_signed=row.hub_signed_at is not None,
    )  # fmt: skip


def _move(row: StatementBreak, after: Standing) -> None:
    row.state, row.owner, row.proposal = str(after.state), str(after.owner), str(after.proposal)


def _log_step(session: Session, row: StatementBreak, side: Side, what: str, now: datetime) -> None:
    row.steps += 1
    fields = {
        "break": row.break_id, "window": row.window_id, "participant": row.platform, "what": what, "by": str(side),
        "difference": row.kind, "proposal": row.proposal, "state": row.state, "step": row.steps,
    }  # fmt: skip
    log_change(session, Kind.BREAK_CHANGED, f"{row.break_id}:{row.steps}", now, fields)
