"""Reading by stretches of time: nothing is left out, whatever cuts a run short, and every run gets on."""

import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.base import Cursor, Page, SetAside, Stop, Window
from connectors.windowed import Ask, Part, Reach, Span, read_spans

NOW = datetime(2026, 11, 20, 8, 30, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


class Feed:
    """A platform with something to say every few hours; answers so many rows a page."""

    def __init__(self, every: timedelta = 5 * HOUR, rows_a_page: int = 3) -> None:
        self.moments = [NOW - number * every for number in range(200, -1, -1)]
        self.rows_a_page = rows_a_page
        self.asked: list[Span] = []

    def ask(self, span: Span, *, request_id: str) -> Part:
        self.asked.append(span)
        rows = [at for at in self.moments if span.start <= at < span.end]
        first = int(span.page or 0)
        shown = rows[first : first + self.rows_a_page]
        following = str(first + self.rows_a_page) if len(rows) > first + self.rows_a_page else None
        texts = tuple(json.dumps({"at": at.isoformat()}).encode() for at in shown)
        return Part(rows=texts, digest=sha256(b"".join(texts)).digest(), following=following)


def read(ask: Ask, reach: Reach, cursor: Cursor | None = None, **more: object) -> list[Page]:
    told = {"now": NOW, "window": None} | more
    return list(read_spans(ask, reach=reach, stream="s", cursor=cursor, **told))  # type: ignore[arg-type]


def moments(pages: list[Page]) -> list[datetime]:
    return [datetime.fromisoformat(json.loads(row)["at"]) for page in pages for row in page.delivery.rows]


REACHES = st.builds(
    Reach,
    longest=st.sampled_from([HOUR, 7 * HOUR, DAY, 9 * DAY]),
    overlap=st.sampled_from([timedelta(0), HOUR, 2 * DAY, 31 * DAY]),
    first=st.just(20 * DAY),
    grid=st.sampled_from([None, HOUR]),
    settle=st.sampled_from([timedelta(0), timedelta(minutes=10)]),
)


@given(reach=REACHES, cuts=st.lists(st.integers(1, 4), min_size=1, max_size=4), rows=st.integers(1, 7))
def test_runs_that_are_cut_short_anywhere_tell_everything_and_each_gets_on(
    reach: Reach, cuts: list[int], rows: int
) -> None:
    feed = Feed(rows_a_page=rows)
    whole = moments(read(feed.ask, reach))
    told: list[datetime] = []
    cursor, runs = None, 0
    while True:
        cut = cuts[runs % len(cuts)]
        pages = list(islice(read_spans(feed.ask, reach=reach, stream="s", cursor=cursor, now=NOW), cut))
        told += moments(pages)
        if not pages or pages[-1].last:
            break
        cursor = Cursor(json.loads(json.dumps(pages[-1].cursor)))  # as it comes back from the database
        runs += 1
        assert runs < 3000, "the runs do not get on"
    assert told == whole  # in order, nothing left out, and while it catches up nothing twice
    first = NOW - reach.first
    until = (
        NOW
        - reach.settle
        - ((NOW - reach.settle - datetime(1970, 1, 1, tzinfo=UTC)) % reach.grid if reach.grid else DAY * 0)
    )
    assert set(whole) >= {at for at in feed.moments if first <= at < until}


@given(reach=REACHES)
def test_the_next_run_begins_an_overlap_before_where_the_last_one_ended(reach: Reach) -> None:
    feed = Feed()
    end = read(feed.ask, reach)[-1]
    assert end.last
    feed.asked.clear()
    read(feed.ask, reach, end.cursor, now=NOW + DAY)
    ended = datetime.fromisoformat(str(end.cursor["read_until"]))
    begin = ended - reach.overlap
    assert feed.asked[0].start == (
        begin if reach.grid is None else begin - (begin - datetime(1970, 1, 1, tzinfo=UTC)) % HOUR
    )


def test_a_window_bounds_what_is_asked_for_on_both_sides() -> None:
    feed = Feed()
    window = Window(since=NOW - 9 * DAY, until=NOW - 4 * DAY)
    pages = read(feed.ask, Reach(longest=DAY, overlap=31 * DAY), window=window)
    assert min(span.start for span in feed.asked) == window.since
    assert max(span.end for span in feed.asked) == window.until
    assert [page.last for page in pages] == [*[False] * (len(pages) - 1), True]
    # The overlap of the next run does not reach behind it either.
    feed.asked.clear()
    read(feed.ask, Reach(longest=DAY, overlap=31 * DAY), pages[-1].cursor, window=Window(since=window.since))
    assert feed.asked[0].start == window.since


def test_no_span_is_longer_than_the_platform_answers() -> None:
    feed = Feed()
    read(feed.ask, Reach(longest=7 * HOUR, overlap=HOUR, first=3 * DAY))
    assert max(span.end - span.start for span in feed.asked) == 7 * HOUR


def test_pages_that_turn_in_a_circle_are_left_and_what_came_is_kept() -> None:
    def ask(span: Span, *, request_id: str) -> Part:
        number = int(span.page or 0)
        row = json.dumps({"at": NOW.isoformat(), "n": number}).encode()
        return Part(rows=(row,), digest=bytes(32), following=str((number + 1) % 3 or 1))

    pages: list[Page] = []
    reading = read_spans(ask, reach=Reach(longest=DAY, overlap=HOUR), stream="s", cursor=None, now=NOW)
    with pytest.raises(SetAside, match="cursor_loop"):
        pages.extend(reading)
    assert 2 <= len(pages) <= 4


@pytest.mark.parametrize(
    "cursor",
    [
        {"cursor": "x"}, {"read_until": 5}, {"read_until": "yesterday"}, {"read_until": None, "page": 7},
        {"read_until": None, "span_start": "a", "span_end": "b"},
    ],
)  # fmt: skip
def test_a_cursor_of_another_connector_stops(cursor: dict[str, str | int | None]) -> None:
    with pytest.raises(Stop, match="cursor_of_another_connector"):
        read(Feed().ask, Reach(longest=DAY, overlap=HOUR), Cursor(cursor))
