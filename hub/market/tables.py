"""Tables of the market. I/O: none here."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Index, UniqueConstraint
from sqlmodel import Field, SQLModel

from consent.types import UtcDateTime
from hub.market.pooling import BLOCK_MG


class CreditIssuance(SQLModel, table=True):
    """What one run pooled of one vintage year: a range of serial numbers, one a tonne, that follows the one before.

    `shares_root` commits to whose grams they are made of; the log names it.
    """

    __tablename__ = "credit_issuance"
    __table_args__ = (
        UniqueConstraint("participant", "serial_first"),
        UniqueConstraint("participant", "serial_last"),
        CheckConstraint("serial_first >= 1 AND serial_last >= serial_first", name="ck_credit_issuance_serials"),
    )

    issuance_id: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    participant: str = Field(max_length=64, description="the market")
    client_id: str = Field(max_length=64, description="to whom people allowed it")
    vintage_year: int
    serial_first: int = Field(sa_type=BigInteger)
    serial_last: int = Field(sa_type=BigInteger)
    first_vintage: int = Field(description="day of its oldest act, yyyymmdd")
    last_vintage: int
    rules: str = Field(max_length=40, description="the version of the rules of use")
    shares_root: bytes
    created_at: datetime = Field(sa_type=UtcDateTime)


class CreditBlock(SQLModel, table=True):
    """One tonne of many people. Its id is random: who knows it was told. A serial is given once in a market."""

    __tablename__ = "credit_block"
    __table_args__ = (
        UniqueConstraint("participant", "serial"),
        CheckConstraint("state IN ('held', 'frozen', 'pending_offset', 'retired')", name="ck_credit_block_state"),
        CheckConstraint(
            "(state IN ('frozen', 'pending_offset')) = (expires_at IS NOT NULL) "
            "AND (state = 'held') = (purpose IS NULL) AND (state = 'retired') = (retired_at IS NOT NULL) "
            "AND (state = 'retired') = (beneficiary IS NOT NULL)",
            name="ck_credit_block_said",
        ),
        Index("ix_credit_block_due", "state", "expires_at"),
    )

    block_id: str = Field(max_length=40, primary_key=True)
    number: int = Field(sa_type=BigInteger, unique=True, description="the source of its entries")
    issuance_id: int = Field(sa_type=BigInteger, foreign_key="credit_issuance.issuance_id", index=True)
    participant: str = Field(max_length=64)
    serial: int = Field(sa_type=BigInteger)
    vintage_year: int
    state: str = Field(max_length=14, description="held, frozen, pending_offset, retired")
    steps: int = Field(default=0, description="how often the state changed")
    purpose: str | None = Field(default=None, max_length=40)
    beneficiary: str | None = Field(default=None, max_length=200, description="an enterprise or event, never a person")
    reference: str | None = Field(default=None, max_length=120, description="the number in the other registry")
    created_at: datetime = Field(sa_type=UtcDateTime)
    changed_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    retired_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class BlockShare(SQLModel, table=True):
    """Whose grams fill a block from `offset_mg` on; together the shares are the block, without gap or overlap.

    With the salt its owner can show the share that the root commits to; an erasure empties the salt.
    """

    __tablename__ = "block_share"
    __table_args__ = (
        UniqueConstraint("number", "offset_mg"),
        CheckConstraint(f"mg > 0 AND offset_mg >= 0 AND offset_mg + mg <= {BLOCK_MG}", name="ck_block_share_mg"),
    )

    number: int = Field(
        sa_type=BigInteger,
        primary_key=True,
        foreign_key="credit_block.number",
        sa_column_kwargs={"autoincrement": False},
    )
    line: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    subject_id: int = Field(sa_type=BigInteger, index=True)
    window_id: int
    vintage: int
    rights: str = Field(max_length=9)
    offset_mg: int = Field(sa_type=BigInteger)
    mg: int = Field(sa_type=BigInteger)
    salt: bytes
    commitment: bytes


class BlockIncome(SQLModel, table=True):
    """Money that a block brought, as its market told it: once a reference."""

    __tablename__ = "block_income"
    __table_args__ = (
        UniqueConstraint("number", "reference"),
        CheckConstraint("amount_fen > 0", name="ck_block_income_fen"),
    )

    income_id: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    number: int = Field(sa_type=BigInteger, foreign_key="credit_block.number")
    reference: str = Field(max_length=120)
    amount_fen: int = Field(sa_type=BigInteger)
    told_at: datetime = Field(sa_type=UtcDateTime)


class BlockPayout(SQLModel, table=True):
    """What of an income is owed to one person."""

    __tablename__ = "block_payout"
    __table_args__ = (CheckConstraint("fen > 0", name="ck_block_payout_fen"),)

    income_id: int = Field(
        sa_type=BigInteger,
        primary_key=True,
        foreign_key="block_income.income_id",
        sa_column_kwargs={"autoincrement": False},
    )
    subject_id: int = Field(sa_type=BigInteger, primary_key=True, index=True, sa_column_kwargs={"autoincrement": False})
    fen: int = Field(sa_type=BigInteger)
