"""What a bank answers about a card account: rows, the next page, and message codes. Pure.

A transaction does not say whether it is booked: the list it stands in does. Each is put, as it was written, into
`{"status", "side", "transaction"}`.

Source: psd2-api 1.3.11 (2021-10-01), Berlin Group: cardAccountReport, tppMessages.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from connectors.answers import parse_retry_after, require_success
from connectors.base import Reauthorise, RetryLater, SetAside, Stop, Unreadable
from connectors.formats.platform_answers import split_page
from connectors.net.egress import Answer
from connectors.strict_json import MalformedJsonError, Split, parse_object, raw_members

_MOST_ROWS = 5000
_UNTIL_NEXT_READ_S = 6 * 3600  # four reads a day
_AMOUNT = re.compile(r"(?P<sign>-?)(?P<digits>[0-9]{1,14}(?:\.[0-9]{1,3})?)")
_CONSENT_CODES = frozenset({"CONSENT_EXPIRED", "CONSENT_INVALID", "CONSENT_UNKNOWN"})
_TOKEN_CODES = frozenset({"TOKEN_UNKNOWN", "TOKEN_INVALID", "TOKEN_EXPIRED"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One page: rows in the order booked, pending; `following` is the bank's own word for where the next page is."""

    rows: tuple[bytes, ...] = field(repr=False)
    unreadable: tuple[Unreadable, ...]
    following: str | None = field(repr=False)


def require_bank_success(answer: Answer, now: datetime) -> None:
    """Turn the bank's status and message code into what to do about it."""
    codes = _message_codes(answer) if answer.status != 200 else frozenset()
    if answer.status in (400, 401, 403) and codes & _CONSENT_CODES:
        raise Reauthorise("consent_expired" if "CONSENT_EXPIRED" in codes else "consent_refused")
    if answer.status in (401, 403) and codes & _TOKEN_CODES:
        raise Reauthorise("token_refused")
    if answer.status == 429 and "ACCESS_EXCEEDED" in codes:
        after_s = parse_retry_after(answer.headers.get("retry-after"), now=now, default=_UNTIL_NEXT_READ_S)
        raise RetryLater("access_exceeded", after_s=max(after_s, _UNTIL_NEXT_READ_S))
    if answer.status == 401 and any(code.startswith("CERTIFICATE") for code in codes):
        raise Stop("credentials_refused")
    require_success(answer, now)


def _message_codes(answer: Answer) -> frozenset[str]:
    try:
        messages = parse_object(answer.body).get("tppMessages")
    except MalformedJsonError:
        return frozenset()
    if not isinstance(messages, list):
        return frozenset()
    codes = (message.get("code") for message in messages[:32] if isinstance(message, dict))
    return frozenset(code for code in codes if isinstance(code, str) and len(code) <= 64)


def read_report(body: bytes, *, purchase_sign: str) -> Report:
    """Take an answer apart into its rows, what cannot be read, and where the next page is.

    Raises:
        RetryLater: no JSON at all: cut on the way.
        SetAside: JSON of another shape, or more rows than agreed.
    """
    members = _members(body)
    if "cardTransactions" not in members:
        raise SetAside("page_no_records")
    report = _members(members["cardTransactions"])
    rows: list[bytes] = []
    unreadable: list[Unreadable] = []
    for status in ("booked", "pending"):
        if report.get(status, b"null") == b"null":
            continue
        # By itself, so that a bad transaction in one list does not make the other unreadable.
        split = split_page(b'{"rows":%s}' % report[status], "rows", most_rows=_MOST_ROWS)
        offset = len(rows) + len(unreadable)
        rows += [_row(row, status, purchase_sign) for row in split.rows]
        unreadable += _moved(split, offset)
    links = [_next(found["_links"]) for found in (report, members) if "_links" in found]
    told = {link for link in links if link is not None}
    if len(told) > 1:
        raise SetAside("page_next_link")  # two ways on: a reader must not choose
    return Report(rows=tuple(rows), unreadable=tuple(unreadable), following=next(iter(told), None))


def _members(data: bytes) -> dict[str, bytes]:
    try:
        return raw_members(data)
    except MalformedJsonError as malformed:
        if malformed.reason in ("not_json", "not_utf8"):
            raise RetryLater("page_unreadable", after_s=30) from None
        raise SetAside(f"page_{malformed.reason}") from None


def _moved(split: Split, offset: int) -> Sequence[Unreadable]:
    return [
        Unreadable(position=offset + bad.position, reason=bad.reason, detail=bad.detail) for bad in split.unreadable
    ]


def _next(links: bytes) -> str | None:
    try:
        following = parse_object(links).get("next")
    except MalformedJsonError:
        raise SetAside("page_links") from None
    if following is None:
        return None
    href: Any = following.get("href") if isinstance(following, dict) else following
    if not isinstance(href, str):
        raise SetAside("page_next_link")
    return href


def _row(row: bytes, status: str, purchase_sign: str) -> bytes:
    side = _side(parse_object(row).get("transactionAmount"), purchase_sign)
    return b'{"status":"%s","side":"%s","transaction":%s}' % (status.encode(), side.encode(), row)


def _side(amount: Any, purchase_sign: str) -> str:
    text = amount.get("amount") if isinstance(amount, dict) else None
    match = _AMOUNT.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return "unknown"
    if Decimal(match["digits"]) == 0:
        return "zero"
    return "debit" if (match["sign"] == "-") == (purchase_sign == "minus") else "credit"
