"""A person's part in blocks, and what is owed to them of the income. I/O: reads the database."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy.orm import Session
from sqlmodel import col, select

from hub.market.blocks import serial_of
from hub.market.tables import BlockIncome, BlockPayout, BlockShare, CreditBlock, CreditIssuance


def load_shares_of(session: Session, subject_id: int) -> Iterator[dict[str, Any]]:
    """Yield a person's shares, each with its block as it stands and what it takes to show the share under the logged root."""
    wanted = (
        select(BlockShare, CreditBlock, CreditIssuance)
        .join(CreditBlock, col(CreditBlock.number) == col(BlockShare.number))
        .join(CreditIssuance, col(CreditIssuance.issuance_id) == col(CreditBlock.issuance_id))
        .where(col(BlockShare.subject_id) == subject_id)
        .order_by(col(BlockShare.number), col(BlockShare.line))
    )
    for share, block, issuance in session.execute(wanted).tuples():
        yield {
            "market": block.participant, "block": serial_of(block), "state": block.state, "purpose": block.purpose,
            "beneficiary": block.beneficiary, "pooled_at": block.created_at, "retired_at": block.retired_at,
            "vintage": share.vintage, "window_id": share.window_id, "rights": share.rights,
            "offset_mg": share.offset_mg, "mg": share.mg, "salt": share.salt.hex(),
            "commitment": share.commitment.hex(), "shares_root": issuance.shares_root.hex(),
        }  # fmt: skip


def load_payouts_of(session: Session, subject_id: int) -> Iterator[dict[str, Any]]:
    """Yield what is owed to a person, the oldest first."""
    wanted = (
        select(BlockPayout, BlockIncome, CreditBlock)
        .join(BlockIncome, col(BlockIncome.income_id) == col(BlockPayout.income_id))
        .join(CreditBlock, col(CreditBlock.number) == col(BlockIncome.number))
        .where(col(BlockPayout.subject_id) == subject_id)
        .order_by(col(BlockPayout.income_id))
    )
    for payout, income, block in session.execute(wanted).tuples():
        yield {
            "market": block.participant, "block": serial_of(block), "told_at": income.told_at,
            "income_fen": income.amount_fen, "fen": payout.fen,
        }  # fmt: skip
