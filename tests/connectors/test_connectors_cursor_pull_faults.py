"""Cursor pull against a platform over real HTTP that misbehaves in every way that was thought of."""

import json
import time
from collections.abc import Callable
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from tests_support.pulling import ACCESS, NOW, ROWS, asked, honest, ids, pages, puller

from connectors.answers import MAX_RETRY_S, parse_retry_after
from connectors.base import ConnectorError, Reauthorise, RetryLater, SetAside, Stop
from connectors.net.checked_network import within


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
            time.sleep(4.0)
        else:
            ask.handler.close_connection = True
        return None

    platform = serve(answer)
    source, cursor, taken, failures = puller(platform, limit=5), None, [], 0
    for _ in range(10):
        with within(2.0 if fault == "slow" else 60.0):
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
