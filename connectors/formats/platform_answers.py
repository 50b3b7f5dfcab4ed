"""What connectors make of an answer to the hub's own credentials, and of a page of rows in it. Pure.

A refused token is here no matter of a person's link: the platform no longer knows the hub, and only an operator can
change that.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from connectors.answers import require_success
from connectors.base import Reauthorise, RetryLater, SetAside, Stop
from connectors.net.egress import Answer
from connectors.strict_json import MalformedJsonError, Split, parse_object, split_records

MAX_PAGE = 2048  # characters of what a platform may ask us to ask for next


def require_platform_success(answer: Answer, now: datetime) -> None:
    """Let only 200 pass.

    Raises:
        RetryLater, SetAside: as everywhere.
        Stop: the hub's own credentials are refused.
    """
    if answer.status == 403:
        raise Stop("credentials_refused")
    try:
        require_success(answer, now)
    except Reauthorise:
        raise Stop("credentials_refused") from None


def parse_reply(body: bytes) -> dict[str, Any]:
    """Parse an answer that must be an object; what is no JSON at all was most likely cut on the way."""
    try:
        return parse_object(body)
    except MalformedJsonError as malformed:
        raise _recovery(malformed) from None


def split_page(body: bytes, member: str, *, most_rows: int) -> Split:
    """Take an answer apart into the rows of one member and the other members.

    Raises:
        RetryLater: no JSON at all.
        SetAside: JSON of another shape, or more rows than agreed.
    """
    try:
        split = split_records(body, member)
    except MalformedJsonError as malformed:
        raise _recovery(malformed) from None
    if len(split.rows) + len(split.unreadable) > most_rows:
        raise SetAside("page_too_many_records")
    return split


def require_whole(members: Mapping[str, Any], name: str, *, most: int = 10**9) -> int:
    """Read a whole number from 0 to `most`, written as a number."""
    value = members.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise SetAside(f"page_{name}")
    return value


def digest_of(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()


def _recovery(malformed: MalformedJsonError) -> RetryLater | SetAside:
    if malformed.reason in ("not_json", "not_utf8"):
        return RetryLater("page_unreadable", after_s=30)
    return SetAside(f"page_{malformed.reason}")
