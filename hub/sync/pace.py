"""How hard a platform is asked, by all workers together. I/O: the database.

One row for each platform says until when its allowance is used up (GCRA, the leaky bucket of telecommunication): who wants
to ask takes so many places from there on and is told how long to wait. A platform that answers 429 pushes the row on for
everybody, so that not every link has to hear it by itself.
"""

from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from hub.participants import Pace
from hub.sync.tables import PlatformPace


def reserve(
    session: Session, platform: str, requests: int, pace: Pace, now: datetime, *, longest: timedelta
) -> timedelta:
    """Take places for some requests; returns how long to wait before the first of them (zero: go).

    Whoever would have to wait for more than `longest` gets no place: nothing is kept for who goes away.
    """
    interval = timedelta(minutes=1) / pace.requests_per_minute
    row = session.get(PlatformPace, platform, with_for_update=True, populate_existing=True)
    if row is None:
        row = PlatformPace(platform=platform, next_at=now)
        session.add(row)
    begins = max(row.next_at, now)
    if begins - now > longest:
        return begins - now
    row.next_at = begins + interval * requests
    session.flush()
    return begins - now


def hold_back(session: Session, platform: str, until: datetime) -> None:
    """Let nobody ask a platform before then: it said that it was asked too often."""
    row = session.get(PlatformPace, platform, with_for_update=True, populate_existing=True)
    if row is None:
        session.add(PlatformPace(platform=platform, next_at=until))
    else:
        row.next_at = max(row.next_at, until)
    session.flush()
