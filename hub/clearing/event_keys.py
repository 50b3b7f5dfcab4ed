"""Keys of a final window's counted events, and the lines that its proof consists of. I/O: the database, in the caller's
transaction.

Lines of the three lists, as files have them and roots commit to them:

    decisions   record|event|verdict|rule|counted|canonical    by record
    events      token|event|mg                                 by token; counted events
    reversals   event|mg                                       by event; what this window took back
"""

import hmac
from collections.abc import Iterator
from typing import Any

import polars as pl
from sqlalchemy import text
from sqlalchemy.orm import Session

from consent.keyring import KeyPurpose, KeyRing
from hub.db import append_frame, load_frame

TOKEN_BYTES = 16
_LABEL = b"tanlian/window-event-key/v1"
_COUNTED = (
    "SELECT d.event_id, s.platform, s.stream, s.source_id FROM decision d JOIN source_record s ON s.record_id = d.event_id "
    "WHERE d.window_id = :w AND d.provisional = :no AND d.verdict = 'counted' AND d.record_id > :after "
    "ORDER BY d.record_id LIMIT :most"
)
_COUNTED_SCHEMA = {
    "event_id": pl.Int64(),
    "platform": pl.String(),
    "stream": pl.String(),
    "source_id": pl.String(),
}
# The database puts the lines together: rows of values would cost several times as much.
_DECISIONS = (
    "SELECT record_id, CAST(record_id AS TEXT) || '|' || COALESCE(CAST(event_id AS TEXT), '') || '|' || verdict || '|' || rule "
    "|| '|' || CAST(counted_mg AS TEXT) || '|' || COALESCE(CAST(canonical_record_id AS TEXT), '') FROM decision "
    "WHERE window_id = :w AND provisional = :no AND record_id >= :since ORDER BY record_id"
)
_EVENTS = (
    "SELECT k.token, '|' || CAST(k.event_id AS TEXT) || '|' || CAST(d.counted_mg AS TEXT) FROM window_event_key k "
    "JOIN decision d ON d.record_id = k.event_id AND d.window_id = k.window_id WHERE k.window_id = :w "
    "ORDER BY k.token, k.event_id"
)
_REVERSALS = (
    "SELECT x.event_id, CAST(x.event_id AS TEXT) || '|' || CAST(d.counted_mg AS TEXT) FROM event_reversal x "
    "JOIN decision d ON d.record_id = x.event_id AND d.event_id = x.event_id AND d.verdict = 'counted' "
    "WHERE x.window_id = :w ORDER BY x.event_id"
)
_ROWS_AT_ONCE = 10_000
_KEYS_AT_ONCE = 100_000


def event_token(ring: KeyRing, platform: str, stream: str, source_id: str) -> bytes:
    """Return the key of a platform's one act: the same for every version of its report, and for no other act.

    Args:
        source_id: the keyed token that stands in the database for the platform's own id.
    """
    return _token(_key(ring), platform, stream, source_id)


def _key(ring: KeyRing) -> bytes:
    return hmac.digest(ring.hmac_key(KeyPurpose.EVENT), _LABEL, "sha256")


def _token(key: bytes, platform: str, stream: str, source_id: str) -> bytes:
    return hmac.digest(key, "\x1f".join((platform, stream, source_id)).encode(), "sha256")[:TOKEN_BYTES]


def keep_event_keys(session: Session, ring: KeyRing, window_id: int) -> int:
    """Store the key of every counted event of a window that becomes final; returns how many."""
    key, kept, after = _key(ring), 0, 0
    while True:
        counted = load_frame(session, _COUNTED, _COUNTED_SCHEMA, w=window_id, no=False, after=after, most=_KEYS_AT_ONCE)
        if counted.is_empty():
            return kept
        tokens = [_token(key, *row) for row in counted.select("platform", "stream", "source_id").iter_rows()]
        rows = counted.select(
            "event_id", window_id=pl.lit(window_id, pl.Int64), token=pl.Series(tokens, dtype=pl.Binary())
        )  # fmt: skip
        kept += append_frame(session, "window_event_key", rows)
        after = int(counted["event_id"][-1])


def read_decision_lines(session: Session, window_id: int, *, since: int = 0) -> Iterator[tuple[int, str]]:
    """Yield the number of each decided record and its line, in order, without holding all of them."""
    yield from _stream(session, _DECISIONS, w=window_id, no=False, since=since)


def read_event_lines(session: Session, window_id: int) -> Iterator[str]:
    """Yield the lines of a final window's counted events, by key."""
    for token, rest in _stream(session, _EVENTS, w=window_id):
        yield bytes(token).hex() + rest


def read_reversal_lines(session: Session, window_id: int) -> Iterator[str]:
    """Yield the lines of the events that a window took back."""
    for _, line in _stream(session, _REVERSALS, w=window_id):
        yield line


def _stream(session: Session, sql: str, **values: object) -> Iterator[Any]:
    yield from session.execute(text(sql), values, execution_options={"yield_per": _ROWS_AT_ONCE})
