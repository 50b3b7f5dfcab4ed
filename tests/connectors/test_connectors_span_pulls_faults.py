"""What every connector that is asked for stretches of time does when its platform misbehaves."""

import json
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from tests_support.pulling import pages
from tests_support.span_pulls import FORMATS, NOW, Spoken

from connectors.base import ConnectorError, Cursor, Reauthorise, RetryLater, SetAside, Stop, Window
from connectors.net.checked_network import within

Serve = Callable[[Callable[[Any], None]], Any]
MEMBERS = {"ocpi_cdr": "data", "mds_trips": "trips", "didi_es": "data", "baidu_track": "trips"}
every_format = pytest.mark.parametrize("name", FORMATS)


def read(spoken: Spoken, url: str, cursor: Cursor | None = None) -> tuple[list[Any], ConnectorError | None]:
    return pages(spoken.build(url).fetch(spoken.access, cursor, now=NOW))


@every_format
def test_an_honest_platform_is_read_to_the_end_and_again_from_a_little_before(serve: Serve, name: str) -> None:
    spoken = FORMATS[name]
    platform = serve(spoken.answer)
    taken, error = read(spoken, platform.url)
    assert error is None
    assert sum(len(page.delivery.rows) for page in taken) >= 1
    assert all(page.delivery.account == (spoken.access.account if spoken.access else None) for page in taken)
    reached = taken[-1].cursor
    fetcher = spoken.build(platform.url)
    more, error = pages(fetcher.fetch(spoken.access, reached, now=NOW + timedelta(hours=2)))
    assert error is None
    told_again = {row for page in more for row in page.delivery.rows}
    assert told_again == (set() if name == "mds_trips" else {row for page in taken for row in page.delivery.rows})
    assert more[-1].cursor["read_until"] > reached["read_until"]


@every_format
@pytest.mark.parametrize(
    ("status", "headers", "expected", "reason"),
    [
        (401, {}, Stop, "credentials_refused"),
        (403, {}, Stop, "credentials_refused"),
        (400, {}, SetAside, "answered_400"),
        (204, {}, SetAside, "answered_204"),
        (429, {"retry-after": "7"}, RetryLater, "answered_429"),
        (500, {}, RetryLater, "answered_500"),
        (503, {"retry-after": "Tue, 06 Oct 2026 01:30:09 GMT"}, RetryLater, "answered_503"),
        (302, {"location": "http://127.0.0.1:1/"}, Stop, "redirected"),
    ],
)
def test_a_status_ends_by_what_to_do_about_it(
    serve: Serve,
    name: str,
    status: int,
    headers: dict[str, str],
    expected: type[ConnectorError],
    reason: str,
) -> None:
    spoken = FORMATS[name]
    platform = serve(lambda exchange: exchange.reply(status, {"error": "canary-body"}, headers))
    taken, error = read(spoken, platform.url)
    if name == "baidu_track":  # asks with a person's token first
        expected, reason = {
            401: (Reauthorise, "token_refused"),
            403: (SetAside, "answered_403"),
        }.get(status, (expected, reason))
    assert taken == []
    assert type(error) is expected
    assert error.reason == reason
    assert "canary" not in str(error)
    if "retry-after" in headers:
        assert error.after_s in (7, 9)


@every_format
@pytest.mark.parametrize("fault", ["truncated", "half_json", "garbage", "not_utf8", "slow", "hang_up"])
def test_what_was_cut_or_never_came_is_asked_for_again(serve: Serve, name: str, fault: str) -> None:
    spoken = FORMATS[name]

    def answer(exchange: Any) -> None:
        body = json.dumps({MEMBERS[name]: [{"id": "canary"}], "status": 0, "errno": 0}).encode()
        if fault == "truncated":
            exchange.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body[:9])
            exchange.handler.close_connection = True
        elif fault == "half_json":
            exchange.reply_bytes(200, body[:-4])
        elif fault == "garbage":
            exchange.reply_bytes(200, b"<html>canary</html>")
        elif fault == "not_utf8":
            exchange.reply_bytes(200, b'{"data": "\xff"}')
        elif fault == "slow":
            time.sleep(2.0)
        else:
            exchange.handler.close_connection = True

    platform = serve(answer)
    with within(0.5 if fault == "slow" else 60.0):
        taken, error = read(spoken, platform.url)
    assert taken == []
    assert type(error) is RetryLater
    assert "canary" not in str(error)


@every_format
@pytest.mark.parametrize(
    "body",
    [b"[]", b"7", b"null", b'"canary"', b"{}", b'{"a":1,"a":2}', b'{"a":NaN}', b'{"a":1e999}', b'{"a":' * 99 + b"1" + b"}" * 99],
)  # fmt: skip
def test_json_of_another_shape_is_for_a_person_to_look_at(serve: Serve, name: str, body: bytes) -> None:
    spoken = FORMATS[name]
    platform = serve(lambda exchange: exchange.reply_bytes(200, body))
    taken, error = read(spoken, platform.url)
    assert taken == []
    # Where rows are taken out as they were written, what is no object at all looks like one that was cut.
    assert type(error) is SetAside or (type(error) is RetryLater and not body.startswith(b"{"))


WRONG: list[Any] = [None, True, 7, -1, 1.5, "canary", [], {}, [7], {"canary": {}}, 10**30, "\ud800"]


@every_format
@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_no_value_in_any_place_of_an_answer_leads_anywhere_unforeseen(serve: Serve, name: str, wrong: Any) -> None:
    spoken = FORMATS[name]
    places: list[tuple[str, ...]] = [(), *((member,) for member in (
        "data", "trips", "status", "status_code", "errno", "total", "version", "access_token", "expires_in", "distance",
        "message", "timestamp",
    )), ("data", "total"), ("data", "records")]  # fmt: skip

    def spoil(document: Any, place: tuple[str, ...]) -> Any:
        if not place:
            return wrong
        if isinstance(document, dict) and place[0] in document:
            return {**document, place[0]: spoil(document[place[0]], place[1:])}
        return document

    for place in places:

        class Spoilt:
            def __init__(self, exchange: Any, place: tuple[str, ...]) -> None:
                self._exchange, self._place = exchange, place

            def __getattr__(self, attribute: str) -> Any:
                return getattr(self._exchange, attribute)

            def reply(self, status: int, document: Any, headers: dict[str, str] | None = None) -> None:
                self._exchange.reply(status, spoil(document, self._place), headers)

            def reply_bytes(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
                self._exchange.reply(status, spoil(json.loads(body), self._place), headers)

        def answer(exchange: Any, place: tuple[str, ...] = place, spoilt: type = Spoilt) -> None:
            spoken.answer(spoilt(exchange, place))

        platform = serve(answer)
        window = Window(since=NOW - timedelta(hours=3))
        _, error = pages(spoken.build(platform.url).fetch(spoken.access, None, now=NOW, window=window))
        assert error is None or "canary" not in str(error)


@every_format
def test_an_answer_without_end_is_not_read(serve: Serve, name: str) -> None:
    spoken = FORMATS[name]
    platform = serve(lambda exchange: exchange.reply_bytes(200, b" " * 300_000))
    taken, error = read(spoken, platform.url)
    assert taken == []
    assert type(error) is SetAside
    assert error.reason == "answer_refused"


@every_format
@pytest.mark.parametrize(
    "cursor",
    [
        Cursor(cursor="abc"),
        Cursor(read_until=7),
        Cursor(read_until="yesterday"),
        Cursor(read_until="2026-10-01T00:00:00+00:00", span_start=1, span_end=None, page=None),
        Cursor(
            read_until=None,
            span_start="2026-10-05T00:00:00+00:00",
            span_end="2026-10-05T01:00:00+00:00",
            page="another's",
        ),
    ],
)
def test_a_cursor_of_another_connector_stops_before_anything_is_asked(serve: Serve, name: str, cursor: Cursor) -> None:
    spoken = FORMATS[name]
    platform = serve(spoken.answer)
    taken, error = read(spoken, platform.url, cursor)
    assert taken == []
    assert type(error) is Stop
    assert error.reason == "cursor_of_another_connector"
    assert platform.asked == []


@every_format
def test_calls_that_fail_now_and_then_lose_nothing(serve: Serve, name: str) -> None:
    spoken = FORMATS[name]

    def answer(exchange: Any) -> None:
        if len(platform.asked) % 3 == 0:
            return exchange.reply(500, {})
        return spoken.answer(exchange)

    platform = serve(answer)
    rows: set[bytes] = set()
    cursor, error = None, None
    for _ in range(40):
        taken, error = read(spoken, platform.url, cursor)
        rows |= {row for page in taken for row in page.delivery.rows}
        cursor = taken[-1].cursor if taken else cursor
        if error is None:
            break
        assert type(error) is RetryLater
    assert error is None
    assert rows
    honest = serve(spoken.answer)
    assert rows == {row for page in read(spoken, honest.url)[0] for row in page.delivery.rows}


@every_format
def test_check_wants_a_platform_that_guards_its_records(serve: Serve, name: str) -> None:
    spoken = FORMATS[name]
    guarded = serve(lambda exchange: exchange.reply(401, {}))
    assert spoken.build(guarded.url).check().ok
    is_open = serve(lambda exchange: exchange.reply(200, {"errno": 0, "status": 0, "data": [], "trips": []}))
    assert spoken.build(is_open.url).check().findings == ("open_without_token",)
    ill = serve(lambda exchange: exchange.reply(500, {}))
    assert spoken.build(ill.url).check().findings == ("answered_500",)
    broken = serve(lambda exchange: exchange.reply(302, {}, {"location": "/"}))
    assert spoken.build(broken.url).check().findings == ("redirected",)


def test_a_link_is_needed_where_each_account_is_asked_for_by_itself(serve: Serve) -> None:
    platform = serve(FORMATS["baidu_track"].answer)
    with pytest.raises(Reauthorise):
        list(FORMATS["baidu_track"].build(platform.url).fetch(None, None, now=NOW))
