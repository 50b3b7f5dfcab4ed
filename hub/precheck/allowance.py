"""How much a platform may ask: calls a minute and acts a day. I/O: `precheck_allowance`, in the caller's transaction.

Kept in the database, so all processes share it. A call takes its place in a leaky bucket (GCRA, as in hub/sync/pace.py) that
holds a minute's worth; the day is China's, as vintages are. Whoever has used up either hears when to come again, and
nothing is counted.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from consent.batches import insert_once
from hub.errors import TanlianError
from hub.sync.tables import PrecheckAllowance

BURST = timedelta(minutes=1)
_CHINA = ZoneInfo("Asia/Shanghai")


class UsedUp(TanlianError):
    """The platform has asked enough for now; `after` says how long to wait."""

    def __init__(self, message: str, after: timedelta) -> None:
        super().__init__(message)
        self.after = after


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A place that was taken: the call's number of the day, and how many acts may still be asked about."""

    number: int
    left: int


def take_place(session: Session, platform: str, events: int, now: datetime, *, calls: int, most: int) -> Taken:
    """Take a place for one call about some acts.

    Args:
        calls: how many a minute.
        most: how many acts a day.

    Raises:
        UsedUp: too many calls, or too many acts today; nothing was taken.
    """
    insert_once(
        session, PrecheckAllowance, {"platform": platform, "next_at": now, "day": _day(now), "calls": 0, "events": 0}
    )
    row = session.get_one(PrecheckAllowance, platform, with_for_update=True, populate_existing=True)
    follows = max(row.next_at, now) + timedelta(minutes=1) / calls
    if follows - now > BURST:
        raise UsedUp(f"at most {calls} calls a minute", follows - now - BURST)
    if row.day != _day(now):
        row.day, row.calls, row.events = _day(now), 0, 0
    if row.events + events > most:
        raise UsedUp(f"at most {most} acts a day, of which {most - row.events} are left", _until_tomorrow(now))
    row.next_at = follows
    row.calls += 1
    row.events += events
    session.flush()
    return Taken(number=row.calls, left=most - row.events)


def _day(now: datetime) -> int:
    return int(now.astimezone(_CHINA).strftime("%Y%m%d"))


def _until_tomorrow(now: datetime) -> timedelta:
    here = now.astimezone(_CHINA)
    return (here + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0) - here
