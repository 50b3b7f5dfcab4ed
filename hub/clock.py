"""The only place that reads the wall clock; everything else is told the time."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Clock = Callable[[], datetime]


def system_clock() -> datetime:
    """Return now as an aware UTC instant."""
    return datetime.now(UTC)


def to_micros(instant: datetime) -> int:
    """Return whole microseconds since 1970 of an aware instant, exactly (no float on the way)."""
    return (instant - EPOCH) // timedelta(microseconds=1)


def from_micros(micros: int) -> datetime:
    """Return the aware UTC instant of `to_micros`."""
    return EPOCH + timedelta(microseconds=micros)
