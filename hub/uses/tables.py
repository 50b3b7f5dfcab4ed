"""Tables of uses. I/O: none here."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Index
from sqlmodel import Field, SQLModel

from consent.types import UtcDateTime


class Reservation(SQLModel, table=True):
    """Grams that a participant may use until a time. Its id is random: who knows it was told."""

    __tablename__ = "reservation"
    __table_args__ = (
        CheckConstraint("used_mg >= 0 AND used_mg <= mg", name="ck_reservation_used"),
        Index("ix_reservation_due", "state", "expires_at"),
    )

    reservation_id: str = Field(max_length=40, primary_key=True)
    number: int = Field(sa_type=BigInteger, unique=True, description="the source of its entries")
    participant: str = Field(max_length=64)
    client_id: str = Field(max_length=64)
    grant_id: str = Field(max_length=64)
    subject_id: int = Field(sa_type=BigInteger, index=True)
    use: str = Field(max_length=10, description="redeem, transfer, retire")
    purpose: str | None = Field(default=None, max_length=40)
    rules: str = Field(max_length=40, description="the version of the rules of use")
    mg: int = Field(sa_type=BigInteger)
    used_mg: int = Field(default=0, sa_type=BigInteger)
    state: str = Field(max_length=10, description="reserved, committed, voided, expired")
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime)
    closed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class ReservationLine(SQLModel, table=True):
    """Of which window and vintage the grams are, and how many of them were used: the oldest first."""

    __tablename__ = "reservation_line"
    __table_args__ = (CheckConstraint("used_mg >= 0 AND used_mg <= mg", name="ck_reservation_line_used"),)

    number: int = Field(
        sa_type=BigInteger,
        primary_key=True,
        foreign_key="reservation.number",
        sa_column_kwargs={"autoincrement": False},
    )
    line: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    window_id: int
    vintage: int
    rights: str = Field(max_length=9)
    mg: int = Field(sa_type=BigInteger)
    used_mg: int = Field(default=0, sa_type=BigInteger)
