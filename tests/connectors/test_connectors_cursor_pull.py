"""Cursor pull against a platform over real HTTP that misbehaves in every way that was thought of."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from connectors.base import ConnectorError, Cursor, LinkAccess, Page, Reauthorise, RetryLater, SetAside, Stop
from connectors.config import ConfigError
from connectors.cursor_pull import MAX_RETRY_S, CursorPull, parse_config, parse_retry_after
from connectors.egress import EgressLimits, Origin, SafeClient

NOW = datetime(2026, 10, 6, 1, 0, tzinfo=UTC)
ACCESS = LinkAccess(link_id="7", account="citic-000123", access_token="canary-token")
ROWS = [{"cardTransactionId": f"C{i:03d}", "version": 1, "amount": "3.00"} for i in range(25)]


def asked(exchange: Any) -> tuple[int, int]:
    """What a page of this feed begins with and how many rows it has: the cursor is the offset."""
    query = parse_qs(urlsplit(exchange.path).query)
    return int(query.get("cursor", ["0"])[0]), int(query["limit"][0])


def honest(exchange: Any) -> None:
    start, limit = asked(exchange)
    following = str(start + limit) if start + limit < len(ROWS) else None
    exchange.reply(200, {"records": ROWS[start : start + limit], "next_cursor": following})


def puller(platform: Any, **config: object) -> CursorPull:
    url = platform.url
    settings = {"records_url": f"{url}/records", "allow_loopback": True, "limit": 10} | config
    limits = EgressLimits(connect_s=1.0, read_s=0.3, total_s=1.0, body_bytes=200_000)
    client = SafeClient([Origin.parse(url, allow_loopback=True)], limits=limits)
    return CursorPull(parse_config(settings, {}), client=client)


def pages(source: Iterator[Page]) -> tuple[list[Page], ConnectorError | None]:
    """Read as the hub does: every page counts, then perhaps an error."""
    taken: list[Page] = []
    try:
        for page in source:
            taken.append(page)
            assert len(taken) <= 600, "the feed never ends"
    except ConnectorError as error:
        return taken, error
    return taken, None


def ids(taken: list[Page]) -> list[str]:
    return [json.loads(row)["cardTransactionId"] for page in taken for row in page.delivery.rows]


def test_a_feed_is_read_to_its_end(serve: Callable) -> None:
    platform = serve(honest)
    taken, error = pages(puller(platform).fetch(ACCESS, None, now=NOW))
    assert error is None
    assert ids(taken) == [row["cardTransactionId"] for row in ROWS]
    assert [page.cursor for page in taken] == [{"cursor": "10"}, {"cursor": "20"}, {"cursor": "20"}]
    assert platform.asked[0].path == "/records?limit=10"


def test_the_last_cursor_is_kept_and_its_page_read_again_later(serve: Callable) -> None:
    platform = serve(honest)
    taken, _ = pages(puller(platform).fetch(ACCESS, None, now=NOW))
    again, error = pages(puller(platform).fetch(ACCESS, taken[-1].cursor, now=NOW))
    assert error is None
    assert again[0].delivery.rows == taken[-1].delivery.rows
    assert again[0].delivery.digest == taken[-1].delivery.digest
    assert again[-1].cursor == taken[-1].cursor


def test_a_feed_that_is_still_empty_keeps_its_beginning(serve: Callable) -> None:
    platform = serve(lambda ask: ask.reply(200, {"records": [], "next_cursor": None}))
    taken, error = pages(puller(platform).fetch(ACCESS, None, now=NOW))
    assert error is None
    assert [(page.delivery.rows, page.cursor) for page in taken] == [((), {"cursor": None})]


def test_rows_and_digest_are_those_of_the_bytes(serve: Callable) -> None:
    body = b'{"records": [ {"amount" : 3.00} ], "next_cursor": null, "more": 1}'
    platform = serve(lambda ask: ask.reply_bytes(200, body))
    taken, _ = pages(puller(platform).fetch(ACCESS, None, now=NOW))
    assert taken[0].delivery.rows == (b'{"amount" : 3.00}',)
    assert taken[0].delivery.digest == hashlib.sha256(body).digest()


def test_each_call_carries_the_token_and_an_id_that_names_the_delivery(serve: Callable) -> None:
    platform = serve(honest)
    taken, _ = pages(puller(platform).fetch(ACCESS, None, now=NOW))
    sent = [ask.headers["x-request-id"] for ask in platform.asked]
    assert sent == [page.delivery.delivery_id for page in taken]
    assert len(set(sent)) == len(sent)
    assert {ask.headers["authorization"] for ask in platform.asked} == {"Bearer canary-token"}


def test_a_key_bound_token_is_shown_with_a_proof_for_each_call(serve: Callable) -> None:
    platform = serve(honest)
    proved: list[tuple[str, str]] = []

    def prove(*, method: str, url: str) -> Mapping[str, str]:
        proved.append((method, url))
        return {"authorization": "DPoP t", "dpop": f"proof-{len(proved)}"}

    access = LinkAccess(link_id="7", account="a", access_token="t", prove=prove)
    pages(puller(platform).fetch(access, None, now=NOW))
    assert [ask.headers["dpop"] for ask in platform.asked] == ["proof-1", "proof-2", "proof-3"]
    assert {ask.headers["authorization"] for ask in platform.asked} == {"DPoP t"}
    assert set(proved) == {("GET", f"{platform.url}/records")}  # without the query, RFC 9449 4.2


def test_a_cursor_is_data_and_never_an_address(serve: Callable) -> None:
    nasty = "http://127.0.0.1:1/?a=b&limit=9999#x 长 ../"

    def answer(ask: Any) -> None:
        cursor = parse_qs(urlsplit(ask.path).query).get("cursor", [None])[0]
        ask.reply(200, {"records": [{"c": cursor}], "next_cursor": None if cursor else nasty})

    platform = serve(answer)
    taken, error = pages(puller(platform).fetch(ACCESS, None, now=NOW))
    assert error is None
    assert json.loads(taken[1].delivery.rows[0]) == {"c": nasty}
    assert parse_qs(urlsplit(platform.asked[1].path).query)["limit"] == ["10"]


@pytest.mark.parametrize("fault", ["429", "500", "503", "truncated", "half_json", "slow", "hang_up"])
def test_every_third_call_fails_and_nothing_is_lost_or_taken_twice(serve: Callable, fault: str) -> None:
    def answer(ask: Any) -> None:
        if len(platform.asked) % 3:
            return honest(ask)
        body = json.dumps({"records": ROWS[:5], "next_cursor": None}).encode()
        if fault.isdigit():
            ask.reply(int(fault), {"error": "canary-body"}, {"retry-after": "1"})
        elif fault == "truncated":
            ask.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body[:40])
            ask.handler.close_connection = True
        elif fault == "half_json":
            ask.reply_bytes(200, body[:40])
        elif fault == "slow":
            time.sleep(0.6)
        else:
            ask.handler.close_connection = True
        return None

    platform = serve(answer)
    source, cursor, taken, failures = puller(platform, limit=5), None, [], 0
    for _ in range(10):
        more, error = pages(source.fetch(ACCESS, cursor, now=NOW))
        taken += more
        cursor = taken[-1].cursor
        if error is None:
            break
        assert isinstance(error, RetryLater)
        assert "canary" not in str(error)
        failures += 1
    assert error is None
    assert failures >= 2
    assert ids(taken) == [row["cardTransactionId"] for row in ROWS]


@pytest.mark.parametrize(
    ("status", "headers", "expected", "reason"),
    [
        (401, {}, Reauthorise, "token_refused"),
        (403, {"www-authenticate": 'Bearer error="insufficient_scope"'}, Reauthorise, "scope_refused"),
        (403, {}, SetAside, "answered_403"),
        (400, {}, SetAside, "answered_400"),
        (404, {}, SetAside, "answered_404"),
        (204, {}, SetAside, "answered_204"),
        (206, {}, SetAside, "answered_206"),
        (302, {"location": "/records"}, Stop, "redirected"),
        (408, {}, RetryLater, "answered_408"),
        (500, {}, RetryLater, "answered_500"),
        (503, {}, RetryLater, "answered_503"),
    ],
)
def test_each_refusal_is_named_by_its_recovery(
    serve: Callable, status: int, headers: dict[str, str], expected: type[ConnectorError], reason: str
) -> None:
    platform = serve(lambda ask: ask.reply_bytes(status, b"" if status == 204 else b"canary-body", headers))
    taken, error = pages(puller(platform).fetch(ACCESS, None, now=NOW))
    assert taken == []
    assert type(error) is expected
    assert str(error) == reason


@pytest.mark.parametrize(
    ("body", "expected", "reason"),
    [
        (b"", RetryLater, "page_unreadable"),
        (b"<html>busy</html>", RetryLater, "page_unreadable"),
        (b'{"records":[{"a":1', RetryLater, "page_unreadable"),
        (b'{"records":[],"next_cursor":null}\xff', RetryLater, "page_unreadable"),
        (b"[]", RetryLater, "page_unreadable"),
        (b'{"items":[],"next_cursor":null}', SetAside, "page_no_records"),
        (b'{"records":{},"next_cursor":null}', SetAside, "page_no_records"),
        (b'{"records":[]}', SetAside, "page_no_next_cursor"),
        (b'{"records":[],"next_cursor":5}', SetAside, "page_next_cursor"),
        (b'{"records":[],"next_cursor":""}', SetAside, "page_next_cursor"),
        (b'{"records":[],"next_cursor":"a\\u0000"}', SetAside, "page_next_cursor"),
        (b'{"records":[],"next_cursor":"' + b"x" * 2049 + b'"}', SetAside, "page_next_cursor"),
        (b'{"records":[],"next_cursor":"\\ud800"}', SetAside, "page_half_character"),
        (b'{"records":[],"next_cursor":"a","next_cursor":"b"}', SetAside, "page_duplicate_key"),
        (b'{"records":[' + b"[" * 90_000, SetAside, "page_too_deep"),
        (b'{"records":[' + b",".join([b"{}"] * 5001) + b'],"next_cursor":null}', SetAside, "page_too_many_records"),
        (b'{"records":[],"next_cursor":null}' + b" " * 200_000, SetAside, "answer_refused"),
    ],
)
def test_a_page_of_the_wrong_shape_is_not_taken(
    serve: Callable, body: bytes, expected: type[ConnectorError], reason: str
) -> None:
    platform = serve(lambda ask: ask.reply_bytes(200, body))
    taken, error = pages(puller(platform).fetch(ACCESS, None, now=NOW))
    assert taken == []
    assert (type(error), str(error)) == (expected, reason)


def test_a_bad_record_on_a_page_does_not_disturb_the_others(serve: Callable) -> None:
    body = b'{"records":[{"a":1},{"a":1,"a":2},null],"next_cursor":null}'
    platform = serve(lambda ask: ask.reply_bytes(200, body))
    taken, error = pages(puller(platform).fetch(ACCESS, None, now=NOW))
    assert error is None
    assert taken[0].delivery.rows == (b'{"a":1}',)
    assert [row.reason for row in taken[0].delivery.unreadable] == ["duplicate_key", "not_an_object"]


def test_the_second_page_and_its_cursor_for_ever_is_noticed(serve: Callable) -> None:
    def answer(ask: Any) -> None:
        start, _ = asked(ask)
        ask.reply(200, {"records": ROWS[start : start + 10], "next_cursor": "10"})

    platform = serve(answer)
    taken, error = pages(puller(platform).fetch(ACCESS, None, now=NOW))
    assert isinstance(error, SetAside)
    assert error.reason == "cursor_loop"
    assert len(platform.asked) == 2
    assert ids(taken) == [row["cardTransactionId"] for row in ROWS[:20]]
    assert taken[-1].cursor == {"cursor": "10"}


def test_a_wide_circle_of_cursors_is_noticed(serve: Callable) -> None:
    circle = {"0": "10", "10": "20", "20": "10"}

    def answer(ask: Any) -> None:
        start, _ = asked(ask)
        ask.reply(200, {"records": [ROWS[start]], "next_cursor": circle[str(start)]})

    taken, error = pages(puller(serve(answer)).fetch(ACCESS, None, now=NOW))
    assert isinstance(error, SetAside)
    assert error.reason == "cursor_loop"
    assert taken[-1].cursor == {"cursor": "20"}  # it stays where it was, and does not go round


def test_the_same_page_under_ever_new_cursors_is_noticed(serve: Callable) -> None:
    def answer(ask: Any) -> None:
        start, _ = asked(ask)
        ask.reply(200, {"records": ROWS[:3], "next_cursor": str(start + 1)})

    platform = serve(answer)
    _, error = pages(puller(platform).fetch(ACCESS, None, now=NOW))
    assert isinstance(error, SetAside)
    assert error.reason == "repeated_pages"
    assert len(platform.asked) == 5


def test_a_row_told_twice_in_a_row_is_no_loop_even_with_one_row_a_page(serve: Callable) -> None:
    rows = [ROWS[0], ROWS[0], ROWS[1], ROWS[2], ROWS[2], ROWS[3]]

    def answer(ask: Any) -> None:
        start, _ = asked(ask)
        following = str(start + 1) if start + 1 < len(rows) else None
        ask.reply(200, {"records": rows[start : start + 1], "next_cursor": following})

    taken, error = pages(puller(serve(answer), limit=1).fetch(ACCESS, None, now=NOW))
    assert error is None
    assert len(ids(taken)) == len(rows)


def test_empty_pages_for_ever_are_noticed(serve: Callable) -> None:
    def answer(ask: Any) -> None:
        start, _ = asked(ask)
        ask.reply(200, {"records": [], "next_cursor": str(start + 1)})

    platform = serve(answer)
    _, error = pages(puller(platform).fetch(ACCESS, None, now=NOW))
    assert isinstance(error, SetAside)
    assert error.reason == "endless_empty_pages"
    assert len(platform.asked) == 11


def test_an_endless_feed_is_left_at_the_bound_and_gone_on_with_later(serve: Callable) -> None:
    def answer(ask: Any) -> None:
        start, _ = asked(ask)
        ask.reply(200, {"records": [{"cardTransactionId": str(start)}], "next_cursor": str(start + 1)})

    source = puller(serve(answer), pages=7)
    first, error = pages(source.fetch(ACCESS, None, now=NOW))
    assert error is None
    more, _ = pages(source.fetch(ACCESS, first[-1].cursor, now=NOW))
    assert ids(first + more) == [str(i) for i in range(14)]


@pytest.mark.parametrize(
    ("text", "after_s"),
    [
        (None, 60),
        ("120", 120),
        ("0", 1),
        (" 5 ", 5),
        ("999999999", MAX_RETRY_S),
        ("9" * 400, 60),
        ("-5", 60),
        ("1.5", 60),
        ("soon", 60),
        ("", 60),
        ("١٢", 60),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90),
        (format_datetime(NOW - timedelta(days=1), usegmt=True), 1),
        (format_datetime(NOW + timedelta(days=4000), usegmt=True), MAX_RETRY_S),
        ("Fri, 31 Dec 9999 23:59:59 GMT", MAX_RETRY_S),
        ("Fri, 99 Dec 2026 23:59:59 GMT", 60),
    ],
)
def test_retry_after_is_read_within_bounds(text: str | None, after_s: int) -> None:
    assert parse_retry_after(text, now=NOW, default=60) == after_s


def test_a_429_says_how_long_to_wait(serve: Callable) -> None:
    platform = serve(lambda ask: ask.reply(429, {}, {"retry-after": "17"}))
    _, error = pages(puller(platform).fetch(ACCESS, None, now=NOW))
    assert isinstance(error, RetryLater)
    assert error.after_s == 17


def test_without_a_token_nobody_is_called(serve: Callable) -> None:
    platform = serve(honest)
    _, error = pages(puller(platform).fetch(None, None, now=NOW))
    assert isinstance(error, Reauthorise)
    assert platform.asked == []


def test_a_cursor_of_another_connector_is_refused(serve: Callable) -> None:
    platform = serve(honest)
    _, error = pages(puller(platform).fetch(ACCESS, Cursor(cursor=7), now=NOW))
    assert isinstance(error, Stop)
    assert platform.asked == []


@pytest.mark.parametrize(
    ("status", "ok", "findings"),
    [(401, True, ()), (200, False, ("open_without_token",)), (404, False, ("answered_404",))],
)
def test_a_check_wants_a_platform_that_asks_for_a_token(
    serve: Callable, status: int, ok: bool, findings: tuple[str, ...]
) -> None:
    platform = serve(lambda ask: ask.reply(status, {"records": [], "next_cursor": None}))
    result = puller(platform).check()
    assert (result.ok, result.findings) == (ok, findings)
    assert "authorization" not in platform.asked[0].headers


def test_a_token_does_not_show_in_what_is_printed() -> None:
    assert "canary" not in repr(ACCESS)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"records_url": "https://p.example/r?x=1"},
        {"records_url": "https://p.example/r#x"},
        {"records_url": "https://p.example/r", "limit": 0},
        {"records_url": "https://p.example/r", "limit": True},
        {"records_url": "https://p.example/r", "limits": 5},
        {"records_url": "https://p.example/r", "allow_loopback": "yes"},
    ],
)
def test_wrong_settings_are_refused(config: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        parse_config(config, {})


def test_a_cursor_is_frozen_and_goes_through_json() -> None:
    cursor = Cursor(cursor="a", n=1, none=None)
    assert Cursor(json.loads(json.dumps(cursor))) == cursor
    for change in (
        lambda: cursor.__setitem__("cursor", "b"),
        lambda: cursor.update(cursor="b"),
        lambda: cursor.pop("cursor"),
        lambda: cursor.clear(),
    ):
        with pytest.raises(TypeError):
            change()


def in_other_words(exchange: Any) -> None:
    query = parse_qs(urlsplit(exchange.path).query)
    start, size = int(query.get("after", ["0"])[0]), int(query["page_size"][0])
    page: dict[str, Any] = {"items": ROWS[start : start + size], "paging": {"total": len(ROWS)}}
    if start + size < len(ROWS):
        page["paging"]["next"] = str(start + size)
    exchange.reply(200, page)


OTHER_WORDS = {
    "cursor_parameter": "after",
    "limit_parameter": "page_size",
    "records_member": "items",
    "cursor_member": "paging.next",
    "cursor_may_be_left_out": True,
    "query": ["format=full", "lang=zh"],
}


def test_a_platform_may_call_all_of_it_by_other_names(serve: Callable) -> None:
    platform = serve(in_other_words)
    source = puller(platform, **OTHER_WORDS)
    taken, error = pages(source.fetch(ACCESS, None, now=NOW))
    assert error is None
    assert ids(taken) == [row["cardTransactionId"] for row in ROWS]
    assert taken[-1].cursor == {"cursor": "20"}
    assert platform.asked[0].path == "/records?format=full&lang=zh&page_size=10"
    assert platform.asked[1].path == "/records?format=full&lang=zh&page_size=10&after=10"


def test_the_cursor_may_stand_in_a_header(serve: Callable) -> None:
    def answer(ask: Any) -> None:
        start, limit = asked(ask)
        following = {"X-Next": str(start + limit)} if start + limit < len(ROWS) else {}
        ask.reply(200, {"records": ROWS[start : start + limit]}, following)

    taken, error = pages(puller(serve(answer), cursor_header="X-Next").fetch(ACCESS, None, now=NOW))
    assert error is None
    assert ids(taken) == [row["cardTransactionId"] for row in ROWS]


@pytest.mark.parametrize(
    ("left_out", "page", "reason"),
    [
        (False, {"items": [], "paging": {}}, "page_no_next_cursor"),
        (False, {"items": []}, "page_no_next_cursor"),
        (False, {"items": [], "paging": None}, "page_no_next_cursor"),
        (True, {"items": [], "paging": "x"}, "page_no_next_cursor"),
        (True, {"items": [], "paging": {"next": 5}}, "page_next_cursor"),
        (True, {"items": [], "paging": {"next": ""}}, "page_next_cursor"),
    ],
)
def test_a_cursor_that_is_not_where_it_should_be_is_noticed(
    serve: Callable, left_out: bool, page: dict[str, Any], reason: str
) -> None:
    config = OTHER_WORDS | {"cursor_may_be_left_out": left_out}
    taken, error = pages(puller(serve(lambda ask: ask.reply(200, page)), **config).fetch(ACCESS, None, now=NOW))
    assert (taken, str(error)) == ([], reason)


@pytest.mark.parametrize(
    "config",
    [
        {"cursor_parameter": "limit"},
        {"query": ["cursor=1"]},
        {"query": ["a=1", "a=2"]},
        {"query": ["a"]},
        {"query": ["=1"]},
        {"cursor_member": "records"},
        {"cursor_member": "records.next"},
        {"cursor_member": "paging."},
        {"cursor_header": "x next"},
        {"cursor_header": "x\r\ny"},
        {"records_member": ""},
        {"cursor_params": "after"},
    ],
)
def test_settings_that_cannot_be_meant_are_refused(config: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        parse_config({"records_url": "https://bank.example/records", **config}, {})


@pytest.mark.parametrize(("answers", "calls"), [((True,), 2), ((True, True), 2), ((False,), 1)])
def test_a_proof_without_the_servers_nonce_is_made_once_more(
    serve: Callable, answers: tuple[bool, ...], calls: int
) -> None:
    def refuse_first(ask: Any) -> None:
        if len(platform.asked) <= len(answers):
            return ask.reply(401, {}, {"dpop-nonce": "n", "www-authenticate": 'DPoP error="use_dpop_nonce"'})
        return ask.reply(200, {"records": ROWS[:1], "next_cursor": None})

    heard: list[tuple[str, int, str | None]] = []
    script = iter(answers)

    def hear(*, url: str, status: int, headers: Mapping[str, str]) -> bool:
        heard.append((url, status, headers.get("dpop-nonce")))
        return next(script)

    platform = serve(refuse_first)
    access = LinkAccess(
        link_id="7", account="a", access_token="t", prove=lambda *, method, url: {"dpop": "p"}, hear=hear
    )
    taken, error = pages(puller(platform).fetch(access, None, now=NOW))
    assert len(platform.asked) == calls
    assert heard[0] == (f"{platform.url}/records", 401, "n")
    assert (error is None) == (answers == (True,))
    assert [page.delivery.account for page in taken] == ["a"] * len(taken)
