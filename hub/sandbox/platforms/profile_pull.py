"""The platform's side of the cursor pull profile: a paged list that answers for the token's account only. I/O: HTTP in."""

import base64
import binascii
import bisect
import uuid
from collections.abc import Sequence
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from hub.sandbox.platforms.faults import Fault
from hub.sandbox.platforms.site import Front, Site, Tally, Voice
from hub.sandbox.platforms.spec import Feed, Place
from hub.sandbox.reports import Report

LARGEST_PAGE = 100

# Where a row stands in the feed: when it was posted, then its id, then its version. It only ever grows.
Standing = tuple[str, str, int]


class PullVoice(Voice):
    """Lists the rows of one account. Rows of a part show once the part is delivered."""

    numbers_versions = True

    def __init__(self, front: Front, stream: str = "") -> None:
        super().__init__(front, stream)
        self.delivered_part = 0
        self._feeds = _feeds_of(self.site, stream)
        front.doors.add(path_of(stream))
        self.app.add_api_route(path_of(stream), self._records, methods=["GET"], response_model=None)

    async def deliver(self, part: int) -> Tally:
        """Make a part's rows visible; the hub fetches them when it wants."""
        fresh = [row for one in range(self.delivered_part + 1, part + 1) for row in self.rows(one)]
        self.delivered_part = max(self.delivered_part, part)
        return Tally(rows=len(fresh))

    async def _records(self, request: Request) -> Response:
        account = self.front.account_of(request.headers.get("authorization"))
        if account is None:
            return _refused(401, "invalid_token", {"WWW-Authenticate": 'Bearer error="invalid_token"'})
        limit = _limit_of(request.query_params.get("limit", str(LARGEST_PAGE)))
        after = _standing_of(request.query_params.get("cursor"))
        if limit is None or after is None:
            return _refused(400, "invalid_request")
        feed = [entry for entry in self._feeds.get(account, []) if entry[1].part <= self.delivered_part]
        start = bisect.bisect_right(feed, after, key=lambda entry: entry[0])
        page = feed[start : start + limit]
        more = len(feed) > start + limit
        following = _cursor_of(page[-1][0]) if more else None
        if self.faults.take(Fault.REPEATED_PAGE):
            following = request.query_params.get("cursor") or (_cursor_of(page[-1][0]) if page else None)
        return self._answer(request, tuple(row for _, row in page), following)

    def _answer(self, request: Request, rows: tuple[Report, ...], following: str | None) -> Response:
        # The caller's id is taken over, so that both sides can speak of one page by one name.
        asked = request.headers.get("x-request-id", "")
        request_id = asked if asked.isascii() and 0 < len(asked) <= 128 else uuid.uuid4().hex
        if self.faults.take(Fault.DUPLICATES):
            rows = tuple(row for row in rows for _ in range(2))
        cursor = "null" if following is None else f'"{following}"'
        body = '{"records":[' + ",".join(row.body for row in rows) + f'],"next_cursor":{cursor}}}'
        data = body.encode()
        if self.faults.take(Fault.TRUNCATED_PAGE):
            data = data[: len(data) * 2 // 3]
        else:
            self.book.note(request_id, self.delivered_part, rows)
        headers = {"X-Request-Id": request_id, "Cache-Control": "no-store"}
        return Response(data, media_type="application/json", headers=headers)


def path_of(stream: str) -> str:
    """Return where a feed is listed; the first feed's stream is empty in reports."""
    return f"/{stream}/records" if stream else "/records"


def pull_feed(
    stream: str, *, role: str, drops: Sequence[str] = (), voice: type[PullVoice] = PullVoice, first: bool = True
) -> Feed:
    """Return a feed of this profile; `first` says whether it is its platform's first."""
    path = path_of("" if first else stream)

    def config(place: Place) -> dict[str, Any]:
        return {
            "records_url": f"{place.origin}{path}",
            "allow_loopback": True,
            "stream": stream,
            "role": role,
            "drops": list(drops),
        }

    return Feed(stream=stream, connector="cursor_pull", voice=voice, config=config)


def _feeds_of(site: Site, stream: str) -> dict[str, list[tuple[Standing, Report]]]:
    feeds: dict[str, list[tuple[Standing, Report]]] = {}
    for row in site.reports.told_by(site.platform, stream=stream):
        standing = (row.delivered_at.isoformat(), row.source_id, row.version)
        feeds.setdefault(row.account, []).append((standing, row))
    for feed in feeds.values():
        feed.sort(key=lambda entry: entry[0])
    return feeds


def _limit_of(text: str) -> int | None:
    if not (text.isascii() and text.isdecimal()) or len(text) > 9 or int(text) < 1:
        return None
    return min(int(text), LARGEST_PAGE)


def _cursor_of(standing: Standing) -> str:
    posted_at, source_id, version = standing
    return base64.urlsafe_b64encode(f"{posted_at}|{source_id}|{version}".encode()).rstrip(b"=").decode()


def _standing_of(cursor: str | None) -> Standing | None:
    """Read a cursor back; None if it is not one of ours. No cursor is the place before the first row."""
    if not cursor:
        return "", "", 0
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        posted_at, source_id, version = text.split("|")
        return posted_at, source_id, int(version)
    except (binascii.Error, ValueError):
        return None


def _refused(status: int, error: str, headers: dict[str, str] | None = None) -> Response:
    document: dict[str, Any] = {"error": error}
    return JSONResponse(document, status_code=status, headers=headers)
