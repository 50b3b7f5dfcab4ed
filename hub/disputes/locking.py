"""Grams that disputes lock. I/O: the database, inside the caller's transaction.

    lock      pending or held of the subject  ->  locked of the subject
    unlock    locked of the subject           ->  pending of the subject, or held once the window is final

While a dispute is open the grams that it locks are those of its event: whoever takes that event back unlocks them first, in
the same transaction (`release_locks`), so that they are what is taken. Whoever locks holds TAKE_BACK and the open window, and so
does whoever takes back; a window becomes final before or after, never meanwhile.
"""

from collections.abc import Sequence
from datetime import datetime

import polars as pl
from sqlalchemy.orm import Session
from sqlmodel import col, select

from hub.clearing.tables import ClearingWindow
from hub.clearing.windows import WindowState
from hub.db import load_by_ids, next_sequence
from hub.disputes.tables import DisputeLock
from hub.errors import Conflict, IntegrityBroken
from hub.ledger.postings import ENTRY_SCHEMA, SIDE_SCHEMA
from hub.ledger.store import append_entries, load_issued
from standards.uses import Rights

MG = {"both_mg": Rights.BOTH, "incentive_mg": Rights.INCENTIVE, "attribute_mg": Rights.ATTRIBUTE}
_TAKEABLE = ("pending", "held")


def lock_events(
    session: Session, dispute_id: str, event_ids: Sequence[int], window_id: int, now: datetime
) -> tuple[int, bool]:
    """Lock what is still the person's of some events and not used, but for what another dispute locks.

    Args:
        window_id: the open window, which the caller holds, as it does TAKE_BACK.

    Returns:
        How many milligrams were locked (whole grams and attributes), and whether some were used or reserved already.
    """
    locked = select(col(DisputeLock.event_id)).where(col(DisputeLock.unlocked_at).is_(None))
    taken = set(session.scalars(locked.where(col(DisputeLock.event_id).in_(list(event_ids)))))
    _hold_windows_of(session, event_ids)
    issued = load_issued(session, [one for one in event_ids if one not in taken])
    rest = pl.col("mg") - pl.min_horizontal("mg", "free")
    found = issued.filter(pl.col("held_as").is_in(_TAKEABLE) & (pl.col("mg") > 0)).with_columns(
        both_mg=pl.min_horizontal("mg", "free"),
        incentive_mg=pl.min_horizontal(rest, "free_incentive"),
        attribute_mg=pl.min_horizontal(rest, "free_attribute"),
    )
    whole = pl.col("both_mg") + pl.min_horizontal("incentive_mg", "attribute_mg")
    used = bool((found["mg"] > found.select(whole).to_series()).any())
    found = found.filter(pl.sum_horizontal(*MG) > 0)
    numbers = pl.Series("number", next_sequence(session, "dispute_lock", len(found)), dtype=pl.Int64())
    lots = found.with_columns(numbers).rename({"issue_window": "owner_window"})
    append_entries(session, *_moved(lots, "lock", "disputed", window_id), now)
    session.add_all(
        DisputeLock(
            number=row["number"], dispute_id=dispute_id, event_id=row["event_id"], window_id=row["owner_window"],
            vintage=row["vintage"], locked_at=now, **{name: row[name] for name in MG},
        )
        for row in lots.iter_rows(named=True)
    )  # fmt: skip
    session.flush()
    return int(lots.select(pl.col("both_mg") + pl.col("attribute_mg")).to_series().sum()), used


def unlock_dispute(session: Session, dispute_id: str, window_id: int, reason: str, now: datetime) -> int:
    """Give back what a dispute locks; returns how many events' grams. The caller holds what `lock_events` asks for."""
    return _unlock(session, _live(session, col(DisputeLock.dispute_id) == dispute_id), window_id, reason, now)


def release_locks(session: Session, event_ids: Sequence[int], window_id: int, now: datetime) -> int:
    """Unlock the grams of events that are taken back now, so that it is they which are taken; returns how many events'.

    Call it before `load_issued`, under TAKE_BACK and with the window in hand that the reversal is posted in.
    """
    if not event_ids:
        return 0
    found: list[DisputeLock] = []
    for start in range(0, len(event_ids), 1_000):
        found += _live(session, col(DisputeLock.event_id).in_(list(event_ids[start : start + 1_000])))
    return _unlock(session, found, window_id, "taken_back", now)


def require_unlocked(session: Session, event_id: int) -> None:
    """See, under TAKE_BACK, that no dispute locks grams of an event. Raises Conflict, which names the dispute."""
    wanted = select(col(DisputeLock.dispute_id)).where(
        col(DisputeLock.event_id) == event_id, col(DisputeLock.unlocked_at).is_(None)
    )
    for dispute_id in session.scalars(wanted):
        raise Conflict(f"dispute {dispute_id} locks the grams of event {event_id}; decide that one")


def load_locked_mg(session: Session, event_ids: Sequence[int]) -> int:
    """Sum what disputes lock of some events: whole grams and attributes, as balances are told."""
    sql = "SELECT both_mg + attribute_mg FROM dispute_lock WHERE unlocked_at IS NULL AND event_id IN :ids"
    return int(load_by_ids(session, sql, {"mg": pl.Int64()}, list(event_ids))["mg"].sum())


def load_locked(session: Session, dispute_id: str) -> list[DisputeLock]:
    """Load what a dispute locks or locked, in order."""
    wanted = select(DisputeLock).where(col(DisputeLock.dispute_id) == dispute_id)
    return list(session.scalars(wanted.order_by(col(DisputeLock.number))))


def _live(session: Session, which: object) -> list[DisputeLock]:
    wanted = select(DisputeLock).where(which, col(DisputeLock.unlocked_at).is_(None))  # type: ignore[arg-type]
    return list(session.scalars(wanted.order_by(col(DisputeLock.number)).with_for_update()))


def _unlock(session: Session, locks: Sequence[DisputeLock], window_id: int, reason: str, now: datetime) -> int:
    if not locks:
        return 0
    events = [lock.event_id for lock in locks]
    _hold_windows_of(session, events)
    standing = load_issued(session, events).select("event_id", "subject_id", "held_as")
    columns = ("number", "event_id", "window_id", "vintage", *MG)
    rows = pl.DataFrame(
        [[getattr(lock, name) for name in columns] for lock in locks], schema=list(columns), orient="row"
    )
    lots = rows.rename({"window_id": "owner_window"}).join(standing, on="event_id", how="inner", maintain_order="left")
    if len(lots) != len(locks):
        raise IntegrityBroken("grams are locked of an act that issued none; run `tanlian audit`")
    append_entries(session, *_moved(lots, "unlock", reason, window_id), now)
    for lock in locks:
        lock.unlocked_at = now
    session.flush()
    return len(locks)


def _hold_windows_of(session: Session, event_ids: Sequence[int]) -> None:
    """Keep the windows of events from becoming final before this transaction ends."""
    sql = "SELECT DISTINCT window_id FROM event WHERE event_id IN :ids"
    windows = load_by_ids(session, sql, {"window_id": pl.Int64()}, list(event_ids))["window_id"].unique().sort()
    held = (
        select(col(ClearingWindow.window_id))
        .where(col(ClearingWindow.window_id).in_(windows.to_list()), col(ClearingWindow.state) != WindowState.FINAL)
        .order_by(col(ClearingWindow.window_id))
        .with_for_update(read=True)
    )
    session.execute(held).all()


def _moved(lots: pl.DataFrame, kind: str, reason: str, window_id: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Enter one movement a lot: number, subject_id, held_as, owner_window, vintage and milligrams (MG)."""
    entries = lots.select(
        kind=pl.lit(kind), reason=pl.lit(reason), window_id=pl.lit(window_id, pl.Int64()), source_id=pl.col("number"),
        reverses=pl.lit(None, pl.Int64()),
    ).cast(pl.Schema(ENTRY_SCHEMA))  # fmt: skip
    sign = 1 if kind == "lock" else -1
    sides = [
        lots.select(
            kind=pl.lit(kind), source_id=pl.col("number"), line=pl.lit(line, pl.Int64()), account_kind=account,
            subject_id=pl.col("subject_id"), platform=pl.lit(None, pl.String()), window_id=pl.col("owner_window"),
            vintage=pl.col("vintage"), rights=pl.lit(rights.value), mg=pl.col(name) * to,
        ).filter(pl.col("mg") != 0)
        for line, (account, to, name, rights) in enumerate(
            (account, to, name, rights)
            for account, to in ((pl.col("held_as"), -sign), (pl.lit("locked"), sign))
            for name, rights in MG.items()
        )
    ]  # fmt: skip
    return entries, pl.concat(sides).cast(pl.Schema(SIDE_SCHEMA))
