"""What holds for every format that reads one link with its token, over real HTTP, well and badly served."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests_support.link_pulls import ACCESS, FORMATS, NOW
from tests_support.pulling import pages

from connectors.base import (
    ConnectorError,
    Cursor,
    LinkAccess,
    Reauthorise,
    RetryLater,
    Scope,
    SetAside,
    Stop,
    Window,
)

NAMES = sorted(FORMATS)
DEEP = b'{"a":' * 4000


def read(name: str, platform: Any, cursor: Cursor | None = None, **settings: Any) -> tuple[list[Any], Any]:
    window = settings.pop("window", None)
    source = FORMATS[name].build(platform.url, **settings)
    return pages(source.fetch(ACCESS, cursor, now=NOW, window=window))


@pytest.mark.parametrize("name", NAMES)
def test_one_row_is_read_with_the_links_token(serve: Callable, name: str) -> None:
    platform = serve(FORMATS[name].answer)
    taken, error = read(name, platform, window=Window(since=NOW - timedelta(days=3)))
    assert error is None
    rows = [row for page in taken for row in page.delivery.rows]
    assert len(rows) == 1
    assert json.loads(rows[0])
    assert {page.delivery.account for page in taken} == {ACCESS.account}
    assert taken[-1].cursor["read_until"] == NOW.isoformat()
    assert b"canary-token" not in b"".join(rows)


@pytest.mark.parametrize("name", NAMES)
def test_the_next_reading_begins_an_overlap_before_the_end_of_the_last(serve: Callable, name: str) -> None:
    platform = serve(FORMATS[name].answer)
    taken, _ = read(name, platform)
    again, error = read(name, platform, taken[-1].cursor)
    assert error is None
    assert again[0].delivery.rows == taken[-1].delivery.rows
    assert again[-1].cursor == taken[-1].cursor


@pytest.mark.parametrize("name", NAMES)
def test_without_a_token_nobody_is_called(serve: Callable, name: str) -> None:
    platform = serve(FORMATS[name].answer)
    _, error = pages(FORMATS[name].build(platform.url).fetch(None, None, now=NOW))
    assert (type(error), error.reason) == (Reauthorise, "no_token")  # type: ignore[union-attr]
    assert platform.asked == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("cursor", [Cursor(cursor="7"), Cursor(read_until=7), Cursor(read_until="yesterday")])
def test_a_cursor_of_another_connector_is_refused(serve: Callable, name: str, cursor: Cursor) -> None:
    platform = serve(FORMATS[name].answer)
    _, error = read(name, platform, cursor)
    assert isinstance(error, Stop)
    assert platform.asked == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (429, {"retry-after": "7"}, RetryLater),
        (500, {}, RetryLater),
        (503, {}, RetryLater),
        (302, {"location": "http://169.254.169.254/"}, Stop),
        (404, {}, SetAside),
        (401, {}, Reauthorise),
        (403, {"www-authenticate": 'Bearer error="insufficient_scope"'}, Reauthorise),
        (204, {}, SetAside),
    ],
)
def test_each_failure_is_named_by_its_recovery(
    serve: Callable, name: str, status: int, headers: dict[str, str], expected: type[ConnectorError]
) -> None:
    def answer(exchange: Any) -> None:
        _drain(exchange)
        exchange.reply(status, {"error": "canary-body"}, headers)

    taken, error = read(name, serve(answer))
    assert taken == []
    assert type(error) is expected
    assert "canary" not in str(error)
    if status == 429:
        assert error.after_s == 7


@pytest.mark.parametrize("name", NAMES)
def test_an_answer_that_was_cut_is_asked_for_again(serve: Callable, name: str) -> None:
    good = FORMATS[name].good
    for end in (0, 1, len(good) // 2, len(good) - 1):

        def answer(exchange: Any, end: int = end) -> None:
            _drain(exchange)
            exchange.reply_bytes(200, good[:end])

        taken, error = read(name, serve(answer))
        assert (taken, type(error)) == ([], RetryLater), end


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "body",
    [
        b"\x00\xff<html>\x80{]", b"[]", b"null", b'"text"', b"7", b"{}", b'{"payload":[]}', b'{"cardTransactions":7}',
        b'{"cardTransactions":{"booked":{}}}', b'{"payload":{"trips":[]}}', b'{"payload":{"trips":7,"_metadata":{}}}',
        b'{"error_response":7}', b'{"a":1,"a":2}', DEEP, b"<feed/>", b"<a>" * 4000, b"<!DOCTYPE a><a/>", b"\xef\xbb\xbf{}",
        b'{"sign":"x","alipay_commerce_transport_carbonjustice_lowcarbonbehavior_query_response":{"code":"10000"}}',
    ],
)  # fmt: skip
def test_an_answer_of_another_shape_never_becomes_another_error(serve: Callable, name: str, body: bytes) -> None:
    def answer(exchange: Any) -> None:
        _drain(exchange)
        exchange.reply_bytes(200, body)

    taken, error = read(name, serve(answer))
    assert taken == []
    assert isinstance(error, RetryLater | SetAside)


@pytest.mark.parametrize("name", NAMES)
def test_an_answer_without_bound_is_not_read(serve: Callable, name: str) -> None:
    def answer(exchange: Any) -> None:
        _drain(exchange)
        exchange.reply_bytes(200, b" " * 300_000)

    _, error = read(name, serve(answer))
    assert (type(error), error.reason) == (SetAside, "answer_refused")


@pytest.mark.parametrize(
    "name", [name for name in NAMES if name != "alipay_green"]
)  # it refuses with 200: see its tests
def test_a_check_wants_a_platform_that_asks_for_a_token(serve: Callable, name: str) -> None:
    def refusing(exchange: Any) -> None:
        exchange.reply(401, {})

    checked = serve(refusing)
    assert FORMATS[name].build(checked.url).check().ok
    assert "authorization" not in checked.asked[0].headers
    found = FORMATS[name].build(serve(FORMATS[name].answer).url).check()
    assert (found.ok, found.findings) == (False, ("open_without_token",))
    gone = FORMATS[name].build("http://127.0.0.1:9").check()
    assert (gone.ok, gone.findings) == (False, ("unreachable",))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "alipay_green"])
def test_a_key_bound_token_is_shown_with_a_proof_for_each_call(serve: Callable, name: str) -> None:
    proved: list[str] = []

    def prove(*, method: str, url: str) -> Mapping[str, str]:
        proved.append(f"{method} {url}")
        return {"authorization": "DPoP t", "dpop": f"proof-{len(proved)}"}

    def hear(*, url: str, status: int, headers: Mapping[str, str]) -> bool:
        return len(proved) == 1  # the platform wants its nonce in the first proof

    access = LinkAccess(link_id="7", account=ACCESS.account, access_token="t", prove=prove, hear=hear)
    platform = serve(FORMATS[name].answer)
    window = Window(since=NOW - timedelta(days=3))
    _, error = pages(FORMATS[name].build(platform.url).fetch(access, None, now=NOW, window=window))
    assert error is None
    assert [ask.headers["dpop"] for ask in platform.asked] == ["proof-1", "proof-2"]
    assert {ask.headers["authorization"] for ask in platform.asked} == {"DPoP t"}
    assert all("?" not in one for one in proved)  # RFC 9449 4.2


@pytest.mark.parametrize("name", NAMES)
def test_each_speaks_for_one_link_and_says_what_it_throws_away(name: str) -> None:
    described = FORMATS[name].build("http://127.0.0.1:9").describe()
    assert described.scope is Scope.LINK
    assert described.official
    assert described.drops
    assert len(described.streams) == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_window_bounds_what_is_asked(serve: Callable, name: str) -> None:
    platform = serve(FORMATS[name].answer)
    window = Window(since=datetime(2026, 9, 1, tzinfo=UTC), until=datetime(2026, 9, 5, tzinfo=UTC))
    taken, error = read(name, platform, window=window)
    assert error is None
    assert taken[-1].cursor["read_until"] == "2026-09-05T00:00:00+00:00"


def _drain(exchange: Any) -> None:
    """Read what was posted, so that the connection can be used for the answer."""
    length = int(exchange.headers.get("content-length", "0"))
    exchange.handler.rfile.read(length)
