"""The platform's side of cursor pull: an ASGI application over two functions of the platform. I/O: HTTP in.

To be copied by a platform: it needs nothing but Python, and any ASGI server. Pages are read by keyset, in the order of
(`updated_at`, `id`): a record that is added or changed gets a new `updated_at` and so stands at the end, where it is read
next, and no page moves while others are read. A transaction that commits late could slip in before a cursor that was given
out already; so the last `settle` of time is not told yet.

Example:
    app = PullServer(account_of=our_tokens.get, load_rows=select_rows)

where `select_rows(account, after, before, limit)` is

    SELECT id, updated_at, document FROM acts WHERE account = :account
       AND (updated_at, id) > :after AND updated_at <= :before ORDER BY updated_at, id LIMIT :limit
"""

import asyncio
import base64
import binascii
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

MOST_ROWS = 1000
_FIRST = (datetime(1970, 1, 1, tzinfo=UTC), "")

Place = tuple[datetime, str]
"""A row's (`updated_at`, `id`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A record as it is to be sent: `document` is one JSON object, written by the platform once."""

    id: str
    updated_at: datetime
    document: bytes


LoadRows = Callable[[str, Place, datetime, int], Sequence[Row]]
"""From account, place (excluded), latest `updated_at` (included) and limit to the rows that follow, in their order."""

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PullServer:
    """Answers `GET ?cursor=&limit=` with `{"records": [...], "next_cursor": text or null}`."""

    account_of: Callable[[str], str | None]
    load_rows: LoadRows
    settle: timedelta = timedelta(seconds=60)
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        status, headers, body = await asyncio.to_thread(self._answer, scope)
        sent = [(name.encode(), value.encode()) for name, value in headers.items()]
        sent.append((b"content-type", b"application/json"))
        await send({"type": "http.response.start", "status": status, "headers": sent})
        await send({"type": "http.response.body", "body": body})

    def _answer(self, scope: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        if scope["method"] != "GET":
            return 405, {"allow": "GET"}, b'{"error":"method_not_allowed"}'
        account = self.account_of(_bearer_token(scope["headers"]))
        if account is None:
            return 401, {"www-authenticate": 'Bearer error="invalid_token"'}, b'{"error":"invalid_token"}'
        query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        limit, after = _parse_limit(query.get("limit")), parse_cursor(query.get("cursor"))
        if limit is None or after is None:
            return 400, {}, b'{"error":"invalid_request"}'
        return 200, {"cache-control": "no-store"}, self._page(account, after, limit)

    def _page(self, account: str, after: Place, limit: int) -> bytes:
        """Write one page; one row more is loaded to know whether another page follows."""
        rows = list(self.load_rows(account, after, self.clock() - self.settle, limit + 1))
        page = rows[:limit]
        following = write_cursor((page[-1].updated_at, page[-1].id)) if len(rows) > limit else None
        records = b",".join(row.document for row in page)
        return b'{"records":[' + records + b'],"next_cursor":' + json.dumps(following).encode() + b"}"


def write_cursor(place: Place) -> str:
    """Write a place as a text that nobody has to understand."""
    told = json.dumps([place[0].astimezone(UTC).isoformat(), place[1]], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(told).decode().rstrip("=")


def parse_cursor(text: str | None) -> Place | None:
    """Read a cursor; no cursor is the beginning, and None means that it is none of ours."""
    if not text:
        return _FIRST
    try:
        updated_at, row_id = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        moment = datetime.fromisoformat(updated_at)
    except (ValueError, TypeError, binascii.Error):
        return None
    return (moment, row_id) if isinstance(row_id, str) and moment.tzinfo is not None else None


def _parse_limit(text: str | None) -> int | None:
    if text is None:
        return 100
    return (
        min(int(text), MOST_ROWS) if text.isascii() and text.isdecimal() and 0 < len(text) < 7 and int(text) else None
    )


def _bearer_token(headers: Sequence[tuple[bytes, bytes]]) -> str:
    given = dict(headers).get(b"authorization", b"").decode("latin-1")
    scheme, _, token = given.partition(" ")
    return token if scheme.lower() == "bearer" else ""
