"""What every connector that asks makes of an answer: whether it may go on, when to ask again, whether it turns in a circle.

Pure.
"""

import hashlib
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from connectors.base import Reauthorise, RetryLater, SetAside
from connectors.net.egress import Answer
from connectors.strict_json import Split

MIN_RETRY_S, MAX_RETRY_S = 1, 3600
_DEFAULT_RETRY_S = {429: 60}
_MAX_EMPTY_PAGES = 10
_MAX_REPEATED_PAGES = 3  # a feed may tell the same rows twice, and with one row a page that repeats a page
_DIGITS = re.compile(r"[0-9]{1,9}")


class Seen:
    """What one run has met: a platform that turns in a circle must not hold the hub in it."""

    def __init__(self, *cursors: str | None) -> None:
        self._cursors = set(cursors)
        self._pages: set[bytes] = set()
        self._empty = self._repeated = 0

    def is_known_cursor(self, following: str | None) -> bool:
        if following is None:
            return False  # the end of the feed, not its beginning
        known = following in self._cursors
        self._cursors.add(following)
        return known

    def require_new_rows(self, split: Split) -> None:
        if not split.rows and not split.unreadable:
            self._empty += 1
            if self._empty > _MAX_EMPTY_PAGES:
                raise SetAside("endless_empty_pages")
            return
        self._empty = 0
        digest = hashlib.sha256(b"\x1e".join(split.rows)).digest()
        if digest not in self._pages:
            self._pages.add(digest)
            return
        self._repeated += 1
        if self._repeated > _MAX_REPEATED_PAGES:
            raise SetAside("repeated_pages")


def require_success(answer: Answer, now: datetime) -> None:
    status = answer.status
    if status == 200:
        return
    if status == 401:
        raise Reauthorise("token_refused")
    if status == 403 and "insufficient_scope" in answer.headers.get("www-authenticate", ""):
        raise Reauthorise("scope_refused")
    if status in (408, 425, 429) or status >= 500:
        default = _DEFAULT_RETRY_S.get(status, 30)
        after_s = parse_retry_after(answer.headers.get("retry-after"), now=now, default=default)
        raise RetryLater(f"answered_{status}", after_s=after_s)
    raise SetAside(f"answered_{status}")


def parse_retry_after(text: str | None, *, now: datetime, default: int) -> int:
    """Read Retry-After (seconds or a date, RFC 9110 10.2.3) within bounds; whatever is absurd is the default."""
    if text is None:
        return default
    text = text.strip()
    if _DIGITS.fullmatch(text):
        return min(max(int(text), MIN_RETRY_S), MAX_RETRY_S)
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return default
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    seconds = int((date - now).total_seconds())
    return min(max(seconds, MIN_RETRY_S), MAX_RETRY_S)
