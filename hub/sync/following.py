"""What begins to be read when an account is linked. I/O: the database, in the transaction that links it."""

from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from connectors.base import Scope
from hub.participants import Platform
from hub.sync.cursors import ensure_backfill, ensure_state

LEAST_OVERLAP = timedelta(days=1)


def follow_link(session: Session, platform: Platform, link_id: str, since: datetime, now: datetime) -> None:
    """Follow every feed of a platform for a link that was opened now.

    A feed that can be asked for a stretch of time is read from now on in one lane, and from `since` (where the consent
    begins) up to now in the other. What a whole platform told before is asked for again: the new account's rows were
    refused then, and nothing of them was kept. Any other feed is read from its beginning.
    """
    for feed in platform.fetched(Scope.LINK):
        stream = platform.state_name(feed)
        told = feed.connector.describe()
        if told.windowed:
            # The lanes overlap: what is too young for the one today must not be too old for the other tomorrow.
            begin = max(since, now - max(told.overlap, LEAST_OVERLAP))
            ensure_state(session, platform.platform_id, link_id, now, stream=stream, since=begin)
            ensure_backfill(session, platform.platform_id, link_id, now, stream=stream, since=since, until=now)
        else:
            ensure_state(session, platform.platform_id, link_id, now, stream=stream)
    for feed in platform.fetched(Scope.PLATFORM):
        if feed.connector.describe().windowed:
            stream = platform.state_name(feed)
            ensure_backfill(session, platform.platform_id, "", now, stream=stream, since=since, until=now)
