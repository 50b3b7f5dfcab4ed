"""Money that blocks brought, shared among the people whose grams they are made of. I/O: the caller's transaction.

The hub moves no money: it says what is owed to whom, under a name that only the market knows the person by. Nothing of it
goes into the log.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy.orm import Session
from sqlmodel import col, select

from consent.keyring import KeyRing
from consent.pairwise import pairwise_subject
from hub.db import append_frame, load_frame, next_sequence
from hub.errors import Conflict, UsageProblem
from hub.market import pooling
from hub.market.blocks import REFERENCE_CHARS, find_block, load_shares
from hub.market.tables import BlockIncome, CreditBlock, CreditIssuance


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """An income and how many people it is owed to; `is_new` is false if it was told before."""

    income: BlockIncome
    people: int
    is_new: bool


def share_income(
    session: Session, block_id: str, *, amount_fen: int, reference: str, now: datetime, participant: str | None = None
) -> Shared:
    """Note what a block brought, and what of it is owed to each person. The same reference again changes nothing.

    Args:
        reference: the market's own name of this payment.

    Raises:
        NotFound: there is no such block. Conflict: the reference came before with another amount.
        UsageProblem: the amount or the reference cannot be.
    """
    if not 0 < amount_fen <= pooling.MOST_FEN:
        raise UsageProblem(f"amount_fen: between 1 and {pooling.MOST_FEN}")
    if not 0 < len(reference) <= REFERENCE_CHARS or not reference.isprintable() or reference != reference.strip():
        raise UsageProblem(f"reference: one line of 1 to {REFERENCE_CHARS} printable characters")
    found = find_block(session, block_id, participant)
    # Of two who tell the same at one time the second waits here, and then finds it told.
    block = session.scalars(select(CreditBlock).where(col(CreditBlock.number) == found.number).with_for_update()).one()
    wanted = select(BlockIncome).where(col(BlockIncome.number) == block.number, col(BlockIncome.reference) == reference)
    before = session.scalars(wanted).one_or_none()
    if before is not None:
        if before.amount_fen != amount_fen:
            raise Conflict(f"this reference came before with {before.amount_fen} fen; nothing was changed")
        return Shared(income=before, people=_count(session, before.income_id), is_new=False)
    income = BlockIncome(
        income_id=next_sequence(session, "block", 1)[0], number=block.number, reference=reference,
        amount_fen=amount_fen, told_at=now,
    )  # fmt: skip
    session.add(income)
    session.flush()
    owed = pooling.split_income(load_shares(session, [block.number]), amount_fen)
    append_frame(session, "block_payout", owed.with_columns(income_id=pl.lit(income.income_id, pl.Int64())))
    return Shared(income=income, people=len(owed), is_new=True)


def load_payouts(session: Session, ring: KeyRing, income_id: int) -> Iterator[dict[str, Any]]:
    """Yield what is owed to each person: subject (as the market's client knows them) and fen, by subject."""
    sql = "SELECT subject_id, fen FROM block_payout WHERE income_id = :i"
    owed = load_frame(session, sql, {"subject_id": pl.Int64(), "fen": pl.Int64()}, i=income_id)
    client_id = session.scalars(
        select(col(CreditIssuance.client_id))
        .join(CreditBlock, col(CreditBlock.issuance_id) == col(CreditIssuance.issuance_id))
        .join(BlockIncome, col(BlockIncome.number) == col(CreditBlock.number))
        .where(col(BlockIncome.income_id) == income_id)
    ).one()
    told = [(pairwise_subject(ring, client_id, subject_id), fen) for subject_id, fen in owed.rows()]
    for subject, fen in sorted(told):
        yield {"subject": subject, "fen": fen}


def describe_income(shared: Shared) -> dict[str, Any]:
    """Return an income as its market sees it."""
    income = shared.income
    return {
        "income_id": income.income_id, "reference": income.reference, "amount_fen": income.amount_fen,
        "people": shared.people, "told_at": income.told_at.isoformat(),
    }  # fmt: skip


def _count(session: Session, income_id: int) -> int:
    found = load_frame(
        session, "SELECT COUNT(*) FROM block_payout WHERE income_id = :i", {"n": pl.Int64()}, i=income_id
    )
    return int(found.item())
