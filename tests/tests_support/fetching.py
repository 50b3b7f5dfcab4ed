"""A hub that fetches, in tests: a clock to move, the state of its links, one account at the simulated bank."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tests_support.town import (
    inhabitant,
    reports,
)  # fmt: skip
from tests_support.web import count

from hub.context import Hub
from hub.db import reading
from hub.sandbox.people import CITIC
from hub.sandbox.platforms.citic import CiticCarbon
from hub.sync.fetching import fetch_next
from hub.sync.tables import SyncState

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
STORES = ("source_record", "reduction_record", "quarantined", "batch", "change_leaf")
LEASE = timedelta(seconds=60)


class Clock:
    """Time stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, **passed: float) -> None:
        self.now += timedelta(**passed)


def states(hub: Hub) -> list[SyncState]:
    with reading(hub.engine) as session:
        return list(session.query(SyncState).order_by(SyncState.platform, SyncState.link_id))


def state_of(hub: Hub) -> SyncState:
    return states(hub)[0]


def stored(hub: Hub) -> int:
    return count(hub, "source_record")["source_record"]


@dataclass
class Feed:
    """One person's account at the simulated bank, and a hub that follows it in pages of five."""

    hub: Hub
    clock: Clock
    bank: CiticCarbon
    subject: int
    grant: str
    link: str

    def show(self, part: int = 4) -> None:
        self.bank.delivered_part = part

    def fetch(self) -> bool:
        return fetch_next(self.hub, "w1")

    def fetch_when_due(self) -> bool:
        self.clock.now = max(self.clock.now, state_of(self.hub).due_at)
        return self.fetch()

    def rows(self, part: int = 4) -> tuple[int, int]:
        """How many rows of the account are readable and how many are not, each version once."""
        mine = [row for row in reports().told_by(CITIC, stream="") if row.person == 1 and row.part <= part]
        readable = {(row.source_id, row.version, row.body) for row in mine if row.trouble is None}
        return len(readable), len({row.body for row in mine if row.trouble is not None})

    def taken(self) -> tuple[int, int]:
        counts = count(self.hub, "source_record", "quarantined")
        return counts["source_record"], counts["quarantined"]


def bill(number: int) -> dict[str, Any]:
    return {
        "cardTransactionId": f"C{number}", "version": 1, "accountId": inhabitant(1).accounts[CITIC], "type": "BILL_PAY",
        "transactionTime": f"2026-10-{number % 28 + 1:02d} 08:31:10", "amount": "3.00", "merchantOrderNo": None,
        "payNo": None, "carbonG": "89", "status": "BOOKED", "updatedAt": "2026-11-06T01:00:00Z",
    }  # fmt: skip
