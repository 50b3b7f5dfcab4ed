"""Tables of the HTTP doors. I/O: none here."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from consent.types import UtcDateTime


class AnsweredRequest(SQLModel, table=True):
    """The answer to a write, kept under the caller's `Idempotency-Key` so that the same request gets it again."""

    __tablename__ = "answered_request"

    client_id: str = Field(max_length=64, primary_key=True)
    request_key: str = Field(max_length=200, primary_key=True)
    digest: bytes = Field(description="SHA-256 of method, path and body")
    status: int
    answer: str = Field(description="JSON; empty while the request is under way")
    at: datetime = Field(sa_type=UtcDateTime, index=True)
