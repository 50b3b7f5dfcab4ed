"""Counts every request at the doors, in memory, and adds the counts to the database now and then. I/O: HTTP, the database.

A request is counted by whose it was, which door it came to (the path as it is declared, never as it was called), how it
ended and how long it took. Nothing else of it is kept: no address, no person, no client. What a process has counted and not
yet written is lost if it is killed: these are figures, and what must not be lost is in the log of each exchange.
"""

import threading
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import perf_counter

import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub.context import Hub
from hub.db import writing
from hub.exchange.histogram import bucket_of

log = structlog.get_logger(__name__)

FLUSH_EVERY = timedelta(seconds=10)
MOST_KEYS = 10_000
HOUR_S = 3600
NOBODY = ""
# Watched by machines every few seconds, and no exchange with anybody.
_NOT_COUNTED = frozenset({"/healthz", "/readyz", "/metrics"})
_ADD = text(
    "INSERT INTO exchange_count (hour, participant, operation, outcome, reason, up_to_ms, requests, sum_us, bytes_in, "
    "bytes_out) VALUES (:hour, :participant, :operation, :outcome, :reason, :up_to_ms, :requests, :sum_us, :bytes_in, "
    ":bytes_out) ON CONFLICT (hour, participant, operation, outcome, reason, up_to_ms) DO UPDATE SET "
    "requests = exchange_count.requests + excluded.requests, sum_us = exchange_count.sum_us + excluded.sum_us, "
    "bytes_in = exchange_count.bytes_in + excluded.bytes_in, bytes_out = exchange_count.bytes_out + excluded.bytes_out"
)
_OUTCOMES = {2: "done", 3: "done", 4: "refused", 5: "failed"}


@dataclass(slots=True)
class Exchange:
    """One request under way; whoever learns something of it writes it down here."""

    participant: str = NOBODY
    reason: str = ""


_current: ContextVar[Exchange | None] = ContextVar("exchange", default=None)


def note_caller(participant: str | None) -> None:
    """Remember for whom the caller of this request acts."""
    exchange = _current.get()
    if exchange is not None and participant is not None:
        exchange.participant = participant


def note_reason(reason: str) -> None:
    """Remember by which stable word this request was turned away."""
    exchange = _current.get()
    if exchange is not None:
        exchange.reason = reason


Key = tuple[str, str, str, str, int]
"""Participant, operation, outcome, reason, bucket."""


@dataclass(slots=True)
class Count:
    """What is added up of requests that are alike."""

    requests: int = 0
    sum_us: int = 0
    bytes_in: int = 0
    bytes_out: int = 0


@dataclass(slots=True)
class Counter:
    """The counts of one process."""

    hub: Hub
    flushed_at: datetime
    counts: dict[Key, Count] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, key: Key, ms: float, *, bytes_in: int, bytes_out: int) -> None:
        """Count one request; beyond MOST_KEYS kinds of them, under no participant and no reason."""
        with self.lock:
            if key not in self.counts and len(self.counts) >= MOST_KEYS:
                key = (NOBODY, key[1], key[2], "", key[4])
            count = self.counts.setdefault(key, Count())
            count.requests += 1
            count.sum_us += int(ms * 1000)
            count.bytes_in += bytes_in
            count.bytes_out += bytes_out

    def is_due(self, now: datetime) -> bool:
        """Say whether the counts should be written."""
        return bool(self.counts) and now - self.flushed_at >= FLUSH_EVERY

    def flush(self, now: datetime) -> int:
        """Add the counts to the hour that it is now; returns how many rows. What cannot be written is tried again later."""
        with self.lock:
            counts, self.counts, self.flushed_at = self.counts, {}, now
        hour = int(now.timestamp()) // HOUR_S * HOUR_S
        # In one order: two processes that add to the same rows must not wait for each other.
        rows = [
            {
                "hour": hour, "participant": key[0], "operation": key[1], "outcome": key[2], "reason": key[3],
                "up_to_ms": key[4], "requests": count.requests, "sum_us": count.sum_us, "bytes_in": count.bytes_in,
                "bytes_out": count.bytes_out,
            }
            for key, count in sorted(counts.items())
        ]  # fmt: skip
        try:
            with writing(self.hub.engine) as session:
                if rows:
                    session.execute(_ADD, rows)
        except SQLAlchemyError as error:
            log.warning("counts_not_written", kind=type(error).__name__, rows=len(rows))
            self._take_back(counts)
            return 0
        return len(rows)

    def _take_back(self, counts: dict[Key, Count]) -> None:
        with self.lock:
            for key, count in counts.items():
                kept = self.counts.setdefault(key, Count())
                kept.requests += count.requests
                kept.sum_us += count.sum_us
                kept.bytes_in += count.bytes_in
                kept.bytes_out += count.bytes_out


class Counting:
    """Counts requests, as plain ASGI: it runs on each of them."""

    def __init__(self, app: ASGIApp, *, counter: Counter) -> None:
        self.app = app
        self.counter = counter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            if scope["type"] == "lifespan":
                await run_in_threadpool(self.counter.flush, self.counter.hub.clock())
            return
        seen = _Seen()

        async def receive_on() -> Message:
            message = await receive()
            seen.bytes_in += len(message.get("body", b""))
            return message

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen.status = message["status"]
            seen.bytes_out += len(message.get("body", b""))
            await send(message)

        exchange, began = Exchange(), perf_counter()
        token = _current.set(exchange)
        try:
            await self.app(scope, receive_on, send_on)
        finally:
            _current.reset(token)
            self._count(scope, exchange, seen, (perf_counter() - began) * 1000)
        now = self.counter.hub.clock()
        if self.counter.is_due(now):
            await run_in_threadpool(self.counter.flush, now)

    def _count(self, scope: Scope, exchange: Exchange, seen: "_Seen", ms: float) -> None:
        # An address that nobody declared is not told: it is whatever a stranger typed.
        path = getattr(scope.get("route"), "path", "")
        if path in _NOT_COUNTED:
            return
        operation = f"{scope['method']} {path}"[:120] if path else "unknown"
        outcome = _OUTCOMES.get(seen.status // 100, "failed")
        reason = "" if outcome == "done" else (exchange.reason or f"status_{seen.status}")[:64]
        key = (exchange.participant[:64], operation, outcome, reason, bucket_of(ms))
        self.counter.add(key, ms, bytes_in=seen.bytes_in, bytes_out=seen.bytes_out)


@dataclass(slots=True)
class _Seen:
    status: int = 500
    bytes_in: int = 0
    bytes_out: int = 0
