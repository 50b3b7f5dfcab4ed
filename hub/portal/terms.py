"""What a person is asked to allow when linking a platform. Pure."""

from datetime import datetime, timedelta

from consent.grants import HUB, GrantTerms, Purpose
from hub.participants import Platform

NOTICE = "link-1"
# The consent ends after a year and must be given anew.
DURATION = timedelta(days=365)


def draft_terms(platform: Platform, now: datetime, *, look_back: timedelta) -> GrantTerms:
    """Return the terms that the consent page shows and that the grant will have, word for word."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return GrantTerms(
        recipient=HUB,
        purposes=frozenset({Purpose.COLLECT, Purpose.CLEAR, Purpose.CREDIT}),
        behaviours=frozenset(platform.document.behaviours),
        platforms=frozenset({platform.platform_id}),
        valid_from=today - look_back,
        valid_until=today + DURATION,
        notice_version=NOTICE,
        language="en",
    )
