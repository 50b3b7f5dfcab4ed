"""Reading a platform that is asked for stretches of time: how far reading has come, and what to ask next. Pure.

Many platforms answer for a window (`start_time`, `end_time`), page by page. `read_spans` turns a window into spans no
longer than the platform allows, asks for each page by page, and hands each page on with the cursor that follows it. The
next run begins an overlap before where this one ended, because platforms still correct what they said.

The cursor holds `read_until` (everything before it was read) and, until now is reached, the span that is being read and
where in it to go on. It is committed with the page's rows, so a run that dies goes on at the page it missed.
"""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from connectors.answers import Seen
from connectors.base import Cursor, Delivery, Page, SetAside, Stop, Unreadable, Window
from connectors.strict_json import Split

_MAX_PAGES = 10_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A half-open stretch of time to ask for; `page` is the platform's own word for where to go on in it."""

    start: datetime
    end: datetime
    page: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One answer: its rows as they were written, the SHA-256 of its bytes, and what to ask for after it in the span."""

    rows: tuple[bytes, ...] = field(repr=False)
    digest: bytes
    following: str | None
    unreadable: tuple[Unreadable, ...] = ()


class Ask(Protocol):
    """Ask the platform for one page of a span. `request_id` names the page on both sides, where the format can say it."""

    def __call__(self, span: Span, *, request_id: str) -> Part: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How a platform wants to be asked.

    Attributes:
        longest: the longest span that it answers.
        overlap: how far before the last reading the next one begins.
        first: how far back the first reading goes, if consent does not say.
        grid: spans begin and end at multiples of this since 1970 in UTC; what is not over yet waits.
        settle: how old a moment must be before it is asked for: the platform may still be writing.
    """

    longest: timedelta
    overlap: timedelta
    first: timedelta = timedelta(days=90)
    grid: timedelta | None = None
    settle: timedelta = timedelta(0)


def read_spans(
    ask: Ask,
    *,
    reach: Reach,
    stream: str,
    cursor: Cursor | None,
    now: datetime,
    window: Window | None = None,
    account: str | None = None,
    new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
) -> Iterator[Page]:
    """Yield every page from the cursor to now (or to the window's end).

    Raises:
        SetAside: the platform turns in a circle.
        Stop: the cursor is another connector's.
        ConnectorError: whatever `ask` raises; what was yielded stands.
    """
    reached = _Reached.at(cursor)
    until = _on_grid(min([now - reach.settle, *([window.until] if window and window.until else [])]), reach.grid)
    span = reached.span or _next_span(reached.read_until, reach, now, window)
    pages = 0
    while span.start < until or span.page is not None:
        if span.page is None:
            span = Span(start=span.start, end=min(span.end, until))
        seen = Seen(span.page)
        while True:
            pages += 1
            if pages > _MAX_PAGES:
                raise SetAside("too_many_pages")
            request_id = new_id()
            part = ask(span, request_id=request_id)
            seen.require_new_rows(Split(rest={}, rows=part.rows, unreadable=part.unreadable))
            turns = seen.is_known_cursor(part.following)
            ended = part.following is None or turns
            after = _after(span, until, reach) if ended else reached.within(span, part.following)
            yield Page(
                delivery=Delivery(
                    delivery_id=request_id,
                    stream=stream,
                    rows=part.rows,
                    digest=part.digest,
                    unreadable=part.unreadable,
                    account=account,
                ),
                cursor=(reached.within(span, span.page) if turns else after).as_cursor(),
                last=part.following is None and span.end >= until,
            )
            if turns:
                raise SetAside("cursor_loop")
            if part.following is None:
                break
            span = Span(start=span.start, end=span.end, page=part.following)
        reached = _after(span, until, reach)
        span = Span(start=span.end, end=span.end + reach.longest)


def _after(span: Span, until: datetime, reach: Reach) -> "_Reached":
    """Where reading is when a span is done: at the end, or at the beginning of the next one.

    Only a reading that came to its end begins an overlap earlier the next time: one that is cut short again and again would
    otherwise step back as far as it came.
    """
    caught_up = span.end >= until
    return _Reached(read_until=span.end, span=None if caught_up else Span(start=span.end, end=span.end + reach.longest))


def _next_span(read_until: datetime | None, reach: Reach, now: datetime, window: Window | None) -> Span:
    since = window.since if window is not None else None
    if read_until is None:
        start = since or now - reach.first
    else:
        start = read_until - reach.overlap
        start = max(start, since) if since is not None else start
    start = _on_grid(start, reach.grid)
    return Span(start=start, end=start + reach.longest)


def _on_grid(instant: datetime, grid: timedelta | None) -> datetime:
    return instant if grid is None else instant - (instant - _EPOCH) % grid


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reached:
    """The cursor's meaning."""

    read_until: datetime | None = None
    span: Span | None = None

    @classmethod
    def at(cls, cursor: Cursor | None) -> "_Reached":
        if cursor is None:
            return cls()
        texts = [cursor.get(name) for name in ("read_until", "span_start", "span_end", "page")]
        if "read_until" not in cursor or not all(text is None or isinstance(text, str) for text in texts):
            raise Stop("cursor_of_another_connector")
        read_until, start, end, page = (text if isinstance(text, str) else None for text in texts)
        try:
            span = None
            if start is not None and end is not None:
                span = Span(start=datetime.fromisoformat(start), end=datetime.fromisoformat(end), page=page)
            return cls(read_until=datetime.fromisoformat(read_until) if read_until else None, span=span)
        except ValueError:
            raise Stop("cursor_of_another_connector") from None

    def within(self, span: Span, page: str | None) -> "_Reached":
        return _Reached(read_until=self.read_until, span=Span(start=span.start, end=span.end, page=page))

    def as_cursor(self) -> Cursor:
        span = self.span
        return Cursor(
            read_until=self.read_until.isoformat() if self.read_until else None,
            span_start=span.start.isoformat() if span else None,
            span_end=span.end.isoformat() if span else None,
            page=span.page if span else None,
        )
