"""What a simulated platform believes that it has told: deliveries, and the records in them. Pure, but for the clock.

Its statement is written by its own hand, and not by the hub's code: two hands and one profile, or the profile is not tried.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hub.clock import Clock
from hub.sandbox.telling.report import Report

VersionOf = Callable[[Report], int | None]
"""The version number of a row in statements; None leaves the row out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One delivery as the platform has noted it."""

    delivery_id: str
    part: int
    rows: int
    claimed_mg: int
    stream: str

    def line(self) -> dict[str, Any]:
        """Return the statement's line; the first feed's need not say whose they are."""
        told = {"delivery_id": self.delivery_id, "rows": self.rows, "claimed_mg": self.claimed_mg}
        return told | ({"stream": self.stream} if self.stream else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """One edition of a record, and when it was told first."""

    source_id: str
    edition: int
    version: int
    claimed_mg: int
    at: datetime


class Records:
    """Editions of records by feed, each as it was told first."""

    def __init__(self) -> None:
        self.by_stream: dict[str, dict[tuple[str, int], Noted]] = {}

    def note(self, stream: str, row: Report, version: int, at: datetime) -> None:
        """Note an edition; told again it is the same."""
        noted = Noted(
            source_id=row.source_id, edition=row.version, version=version, claimed_mg=row.claimed_mg, at=at
        )  # fmt: skip
        self.by_stream[stream].setdefault((row.source_id, row.version), noted)

    def last_told(self, stream: str, since: datetime, until: datetime) -> list[Noted]:
        """Return the last edition of each record that was told for the first time from `since` on, before `until`."""
        last: dict[str, Noted] = {}
        for noted in self.by_stream[stream].values():
            if since <= noted.at < until and (
                noted.source_id not in last or last[noted.source_id].edition < noted.edition
            ):
                last[noted.source_id] = noted
        return list(last.values())


class DeliveryBook:
    """What the platform believes that it has delivered: only what the hub has taken or has been answered.

    Args:
        clock: says when a record was told; without one only deliveries are noted.
        is_shared: whether a row is of somebody who lets the hub have it; others the hub has never taken.
    """

    def __init__(
        self,
        stream: str = "",
        sent: dict[str, Sent] | None = None,
        *,
        clock: Clock | None = None,
        is_shared: Callable[[Report], bool] = lambda row: True,
        version_of: VersionOf | None = None,
        records: Records | None = None,
    ) -> None:
        self._stream, self._clock, self._is_shared, self._version_of = stream, clock, is_shared, version_of
        self._sent = {} if sent is None else sent
        self._records = Records() if records is None else records
        if version_of is not None:
            self._records.by_stream.setdefault(stream, {})

    def of_feed(self, stream: str, version_of: VersionOf | None) -> "DeliveryBook":
        """Return the same book, in which what is noted is of one feed; without `version_of` its rows are nobody's."""
        return DeliveryBook(
            stream,
            self._sent,
            clock=self._clock,
            is_shared=self._is_shared,
            version_of=version_of,
            records=self._records,
        )

    def note(self, delivery_id: str, part: int, rows: tuple[Report, ...]) -> None:
        """Note a delivery and its records; the same id again is the same delivery."""
        claimed_mg = sum(row.claimed_mg for row in rows)
        self._sent[delivery_id] = Sent(
            delivery_id=delivery_id, part=part, rows=len(rows), claimed_mg=claimed_mg, stream=self._stream
        )
        if self._clock is None or self._version_of is None:
            return
        now = self._clock()
        for row in rows:
            version = self._version_of(row)
            if version is not None and self._is_shared(row):
                self._records.note(self._stream, row, version, now)

    def statement(self, part: int | None = None) -> dict[str, Any]:
        """Return the platform's deliveries, for one part or for all so far."""
        sent = [one for one in self._sent.values() if part is None or one.part == part]
        return {"deliveries": [one.line() for one in sent]}

    def streams(self, since: datetime, until: datetime) -> list[dict[str, Any]]:
        """Return count, sum and digest of each feed for a stretch of time (half-open); the first feed is not named."""
        found = []
        for stream in self._records.by_stream:
            told = self._records.last_told(stream, since, until)
            lines = sorted(f"{one.source_id}|{one.version}|{one.claimed_mg}\n".encode() for one in told)
            totals = {
                "records": len(told),
                "claimed_mg": sum(one.claimed_mg for one in told),
                "digest": hashlib.sha256(b"".join(lines)).hexdigest(),
            }
            found.append(({"stream": stream} if stream else {}) | totals)
        return found

    def lines_text(self, stream: str, since: datetime, until: datetime) -> str:
        """Return the lines of one feed as NDJSON; a name that is no further feed's is the first's."""
        name = stream if stream in self._records.by_stream else ""
        told = self._records.last_told(name, since, until) if name in self._records.by_stream else []
        lines = [
            {
                "source_id": one.source_id,
                "version": one.version,
                "claimed_mg": one.claimed_mg,
                "posted_at": one.at.isoformat(),
            }
            for one in told
        ]
        return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
