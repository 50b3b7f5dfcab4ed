"""What the suite has seen a connector make of something: of a message that was posted, of a file, of a whole reading. Pure."""

import json
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256

from connectors.base import ConnectorError, Cursor, Delivery, Inbound, Page, Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A message that a simulator has really posted, and what the connector made of it.

    `bringer` is the account of the person who brought a file; None where platforms speak for themselves.
    """

    request: Inbound = field(repr=False)
    at: datetime
    answer: Delivery | Reply | ConnectorError
    bringer: str | None = field(default=None, repr=False)

    @property
    def delivery(self) -> Delivery | None:
        """The delivery as the hub stores it; None if there is none."""
        if not isinstance(self.answer, Delivery):
            return None
        return self.answer if self.bringer is None else brought_by(self.bringer, self.answer)


def brought_by(account: str, delivery: Delivery) -> Delivery:
    """Say whose a file is, as `hub/uploads.py` does for the person who is signed in: nothing in the file says it."""
    link_id = sha256(account.encode()).hexdigest()[:20]
    return replace(delivery, account=account, delivery_id=f"{link_id}:{delivery.delivery_id}"[:200])


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One run of a fetcher."""

    pages: tuple[Page, ...]
    error: ConnectorError | None
    start: Cursor | None

    @property
    def rows(self) -> list[bytes]:
        return [row for page in self.pages for row in page.delivery.rows]

    @property
    def cursor(self) -> Cursor | None:
        """Where the next run begins: behind the last page that was committed."""
        return again(self.pages[-1].cursor) if self.pages else self.start


def again(cursor: Cursor) -> Cursor:
    """Return a cursor as the database gives it back."""
    return Cursor(json.loads(json.dumps(cursor)))
