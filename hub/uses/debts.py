"""What platforms owe: grams of acts that were taken back after people had used them. I/O: the caller's transaction.

A use is never undone, and a person is not made to give other acts for a platform's mistake. The platform that reported the
act owes the grams, until those that were only reserved come back, it delivers grams of its own pool, or the hub's buffer
stands in.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import polars as pl
from sqlalchemy.orm import Session
from sqlmodel import col, select

from hub.changes import log_change
from hub.clearing.windows import join_open_window
from hub.db import is_postgresql, load_frame, next_sequence
from hub.errors import Conflict
from hub.ledger.postings import HUB, LOT_SCHEMA, move, side
from hub.ledger.store import append_entries
from hub.ledger.tables import Debt
from hub.log.leaves import Kind
from standards.uses import Rights


class Source(StrEnum):
    """From what a debt is paid: grams that people transferred to the platform, or the hub's buffer."""

    POOL = "pool"
    BUFFER = "buffer"


_POSTED = {Source.POOL: ("replace", "delivered", "transferred"), Source.BUFFER: ("draw", "buffer_draw", "buffer")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What of a debt was settled."""

    platform: str
    mg: int


def settle_debts(
    session: Session, subject_id: int, released: pl.DataFrame, window_id: int, now: datetime
) -> list[Settled]:
    """Take released grams for what was taken back of the same person, window and vintage while they were reserved.

    Args:
        released: LOT_SCHEMA, held again by the person.
    """
    wanted = select(Debt).where(col(Debt.subject_id) == subject_id, col(Debt.left_mg) > 0)
    debts = list(session.scalars(wanted.order_by(col(Debt.entry_id), col(Debt.rights)).with_for_update()))
    left = {(row["window_id"], row["vintage"], row["rights"]): row["mg"] for row in released.iter_rows(named=True)}
    settled = []
    for debt in debts:
        place = (debt.window_id, debt.vintage, debt.rights)
        mg = min(debt.left_mg, left.get(place, 0))
        if not mg:
            continue
        left[place] -= mg
        debt.left_mg -= mg
        lot = pl.DataFrame([(*place, mg)], schema=LOT_SCHEMA, orient="row")
        sides = [side("held", lot, -1, subject_id=subject_id), side("owed", lot, +1, platform=debt.platform)]
        number = next_sequence(session, "reservation", 1)[0]
        append_entries(session, *move("settle", "came_back", number, window_id, sides), now)
        settled.append(Settled(platform=debt.platform, mg=mg))
    session.flush()
    return settled


@dataclass(frozen=True, slots=True, kw_only=True)
class Paid:
    """A payment: the source of its entry, and what is still owed, in milligrams."""

    number: int
    left_mg: int


def repay(session: Session, platform: str, mg: int, source: Source, *, now: datetime) -> Paid:
    """Pay what a platform owes, the oldest debt first.

    Only whole grams pay: both rights of them. The oldest acts go first.

    Raises:
        Conflict: it does not owe so much, or there is not so much to pay with.
    """
    window_id = join_open_window(session)
    kind, reason, account = _POSTED[source]
    # Balances before debts, as whoever closes a reservation: two who wait for each other would never end.
    lots = _load_source(session, account, HUB if source is Source.BUFFER else platform)
    wanted = select(Debt).where(
        col(Debt.platform) == platform, col(Debt.left_mg) > 0, col(Debt.rights) == Rights.BOTH.value
    )
    debts = list(session.scalars(wanted.order_by(col(Debt.entry_id)).with_for_update()))
    owed = sum(debt.left_mg for debt in debts)
    if not 0 < mg <= owed:
        raise Conflict(f"{platform} owes {owed:,} mg; between 1 and that can be paid")
    before = pl.col("mg").cum_sum() - pl.col("mg")
    paid = lots.with_columns(mg=pl.min_horizontal("mg", (pl.lit(mg) - before).clip(0))).filter(pl.col("mg") > 0)
    if int(paid["mg"].sum()) < mg:
        raise Conflict(f"the {source.value} has {int(lots['mg'].sum()):,} mg, fewer than {mg:,}")
    owner = HUB if source is Source.BUFFER else platform
    sides = [side("owed", paid.select(list(LOT_SCHEMA)), +1, platform=platform)]
    for (subject_id,), part in paid.group_by("subject_id", maintain_order=True):
        whose = None if subject_id is None else int(str(subject_id))
        sides.append(side(account, part.select(list(LOT_SCHEMA)), -1, subject_id=whose, platform=owner))
    number = next_sequence(session, "reservation", 1)[0]
    append_entries(session, *move(kind, reason, number, window_id, sides), now)
    left = mg
    for debt in debts:
        part_mg = min(left, debt.left_mg)
        debt.left_mg -= part_mg
        left -= part_mg
    session.flush()
    fields = {"participant": platform, "source": source.value, "paid_mg": str(mg), "left_mg": str(owed - mg)}
    log_change(session, Kind.DEBT_PAID, f"{number}", now, fields)
    return Paid(number=number, left_mg=owed - mg)


def _load_source(session: Session, account: str, owner: str) -> pl.DataFrame:
    """LOT_SCHEMA and subject_id of an owner's grams, the oldest acts first; held until the transaction ends."""
    locked = " FOR UPDATE OF b" if is_postgresql(session) else ""
    sql = (
        "SELECT a.subject_id, b.window_id, b.vintage, b.rights, b.mg FROM balance b "
        "JOIN account a ON a.account_id = b.account_id WHERE a.kind = :k AND a.platform = :p AND b.rights = 'both' "
        f"AND b.mg > 0 ORDER BY b.account_id, b.window_id, b.vintage, b.rights{locked}"
    )
    lots = load_frame(session, sql, {"subject_id": pl.Int64(), **LOT_SCHEMA}, k=account, p=owner)
    return lots.sort("vintage", "window_id", maintain_order=True)


def load_debts(session: Session) -> pl.DataFrame:
    """Load what each platform owes: platform, debts, mg (ever), left_mg."""
    sql = (
        "SELECT platform, COUNT(*), CAST(SUM(mg) AS BIGINT), CAST(SUM(left_mg) AS BIGINT) FROM debt "
        "WHERE rights <> 'incentive' GROUP BY platform ORDER BY platform"
    )
    schema = {"platform": pl.String(), "debts": pl.Int64(), "mg": pl.Int64(), "left_mg": pl.Int64()}
    return load_frame(session, sql, schema)
