"""What a person is asked to allow, and what is left of it after what they ticked. Pure."""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta

from consent.notices import Notice, current_notice
from consent.terms import HUB, GrantTerms, Purpose, Sensitive, sensitive_classes, without_undecided
from hub.participants import Platform

LINK = "link"
# The consent ends after a year and must be given anew.
DURATION = timedelta(days=365)


def asked_terms(platform: Platform, now: datetime, *, look_back: timedelta, notice: Notice) -> GrantTerms:
    """Return what the person is asked: every behaviour of the platform, no sensitive class decided yet."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return GrantTerms(
        recipient=HUB,
        purposes=frozenset({Purpose.COLLECT, Purpose.CLEAR, Purpose.CREDIT}),
        behaviours=frozenset(platform.document.behaviours),
        platforms=frozenset({platform.platform_id}),
        valid_from=today - look_back,
        valid_until=today + DURATION,
        notice_version=notice.version,
        language=notice.language,
    )


def agreed_terms(asked: GrantTerms, agreed: Collection[Sensitive]) -> GrantTerms:
    """Return what is left of the asked: behaviours of a sensitive class only where that class was said yes to."""
    return replace(
        asked,
        behaviours=without_undecided(asked.behaviours, agreed),
        sensitive=frozenset(agreed) & sensitive_classes(asked.behaviours),
    )


def draft_terms(
    platform: Platform,
    now: datetime,
    *,
    look_back: timedelta,
    agreed: Collection[Sensitive],
    notice: Notice | None = None,
) -> GrantTerms:
    """Return the terms that the grant will have: what the consent page shows, less the sensitive classes not agreed to."""
    shown = notice or current_notice(LINK, "en")
    return agreed_terms(asked_terms(platform, now, look_back=look_back, notice=shown), agreed)
