"""MDS trips: hour by hour, hours that are not worked through yet, hours without an operator, and nobody's name."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from tests_support.pulling import pages
from tests_support.span_pulls import NOW, TRIP, answer_mds, mds, query_of

from connectors.base import Cursor, RetryLater, Scope, SetAside, Stop, Window
from connectors.formats.mds_trips import parse_config

Serve = Callable[[Callable[[Any], None]], Any]
WINDOW = Window(since=NOW - timedelta(hours=4))  # 21:30: the hours from 21:00 on


def hours(platform: Any) -> list[str]:
    return [query_of(one.path)["end_time"] for one in platform.asked]


def reply(trips: list[Any], version: Any = "2.0.0") -> dict[str, Any]:
    return {"version": version, "trips": trips}


def test_every_closed_hour_is_asked_for_once_and_the_running_one_waits(serve: Serve) -> None:
    platform = serve(lambda exchange: exchange.reply(200, reply([])))
    taken, error = pages(mds(platform.url).fetch(None, None, now=NOW, window=WINDOW))
    assert error is None
    assert hours(platform) == ["2026-10-05T21", "2026-10-05T22", "2026-10-05T23", "2026-10-06T00"]
    assert taken[-1].cursor["read_until"] == "2026-10-06T01:00:00+00:00"
    assert all(set(query_of(one.path)) == {"end_time"} for one in platform.asked)


def test_trips_go_on_as_the_bytes_of_the_platform(serve: Serve) -> None:
    row = b'{"trip_id":"t-1" , "distance": 3120.50,"start_time":1791176400000}'
    body = b'{"trips":[' + row + b',7],"version":"2.0.1"}'
    platform = serve(lambda exchange: exchange.reply_bytes(200, body))
    taken, error = pages(mds(platform.url).fetch(None, None, now=NOW, window=Window(since=NOW - timedelta(minutes=90))))
    assert error is None
    assert taken[0].delivery.rows == (row,)
    assert [(bad.position, bad.reason) for bad in taken[0].delivery.unreadable] == [(1, "not_an_object")]
    assert taken[0].delivery.account is None


@pytest.mark.parametrize(("headers", "after_s"), [({}, 300), ({"retry-after": "40"}, 40)])
def test_an_hour_that_is_not_worked_through_is_asked_for_again(
    serve: Serve, headers: dict[str, str], after_s: int
) -> None:
    ready = False

    def answer(exchange: Any) -> None:
        if query_of(exchange.path)["end_time"] == "2026-10-05T23" and not ready:
            return exchange.reply(202, {}, headers)
        return exchange.reply(200, reply([TRIP | {"trip_id": query_of(exchange.path)["end_time"]}]))

    platform = serve(answer)
    taken, error = pages(mds(platform.url).fetch(None, None, now=NOW, window=WINDOW))
    assert (type(error), error.reason, error.after_s) == (RetryLater, "hour_not_processed", after_s)
    # What was told before it stands, and the next run goes on at that hour.
    assert taken[-1].cursor["page"] == "2026-10-05T23:00:00+00:00"
    assert hours(platform).count("2026-10-05T23") == 1  # not asked again before its time
    assert [json.loads(row)["trip_id"] for row in taken[-1].delivery.rows] == ["2026-10-05T21", "2026-10-05T22"]
    ready = True
    platform.asked.clear()
    more, error = pages(mds(platform.url).fetch(None, taken[-1].cursor, now=NOW, window=WINDOW))
    assert error is None
    assert hours(platform) == ["2026-10-05T23", "2026-10-06T00"]
    assert [json.loads(row)["trip_id"] for row in more[0].delivery.rows] == ["2026-10-05T23", "2026-10-06T00"]
    platform.asked.clear()
    assert pages(mds(platform.url).fetch(None, more[-1].cursor, now=NOW, window=WINDOW))[1] is None
    assert hours(platform) == ["2026-10-05T23", "2026-10-06T00"]  # two hours are read again


def test_an_hour_in_which_the_operator_did_not_run_has_no_trips(serve: Serve) -> None:
    def answer(exchange: Any) -> None:
        if query_of(exchange.path)["end_time"] < "2026-10-05T23":
            return exchange.reply(404, {"error": "canary"})
        return answer_mds(exchange)

    platform = serve(answer)
    taken, error = pages(mds(platform.url).fetch(None, None, now=NOW, window=WINDOW))
    assert error is None
    assert len(hours(platform)) == 4
    assert [page.delivery.rows for page in taken] == [()]


def test_an_hour_that_lies_ahead_on_the_operators_clock_is_not_taken_for_an_empty_one(serve: Serve) -> None:
    def answer(exchange: Any) -> None:
        is_last = query_of(exchange.path)["end_time"] == "2026-10-06T00"
        exchange.reply(404, {}) if is_last else exchange.reply(200, reply([]))

    platform = serve(answer)
    taken, error = pages(mds(platform.url).fetch(None, None, now=NOW, window=WINDOW))
    assert (type(error), error.reason) == (RetryLater, "hour_ahead")
    assert taken[-1].cursor["page"] == "2026-10-06T00:00:00+00:00"


@pytest.mark.parametrize(
    ("status", "expected", "reason"),
    [(400, SetAside, "answered_400"), (406, Stop, "version_not_offered"), (401, Stop, "credentials_refused")],
)
def test_a_refusal_ends_by_what_to_do_about_it(serve: Serve, status: int, expected: type, reason: str) -> None:
    platform = serve(lambda exchange: exchange.reply(status, {"error": "canary"}))
    taken, error = pages(mds(platform.url).fetch(None, None, now=NOW))
    assert (taken, type(error), error.reason) == ([], expected, reason)


@pytest.mark.parametrize("version", ["1.2.0", "20.0", "", None, 2, ["2.0"]])
def test_another_version_is_for_a_person_to_look_at(serve: Serve, version: Any) -> None:
    platform = serve(lambda exchange: exchange.reply(200, reply([], version)))
    _, error = pages(mds(platform.url).fetch(None, None, now=NOW))
    assert (type(error), error.reason) == (SetAside, "page_version")


def test_an_hour_of_more_trips_than_agreed_is_for_a_person_to_look_at(serve: Serve) -> None:
    platform = serve(lambda exchange: exchange.reply(200, reply([TRIP] * 6)))
    _, error = pages(mds(platform.url, rows=5).fetch(None, None, now=NOW))
    assert (type(error), error.reason) == (SetAside, "page_too_many_records")


def test_a_day_is_one_page_and_rows_that_cannot_be_read_keep_their_place(serve: Serve) -> None:
    platform = serve(
        lambda exchange: exchange.reply(200, reply([TRIP | {"trip_id": query_of(exchange.path)["end_time"]}, 7]))
    )
    taken, error = pages(mds(platform.url, first_days=3).fetch(None, None, now=NOW))
    assert error is None
    assert [len(page.delivery.rows) for page in taken] == [24, 24, 24]
    assert [bad.position for bad in taken[0].delivery.unreadable] == list(range(1, 48, 2))
    assert len(set(hours(platform))) == len(platform.asked) == 72
    platform.asked.clear()
    alone, error = pages(mds(platform.url, first_days=1, hours=1).fetch(None, None, now=NOW))
    assert error is None
    assert len(alone) == len(platform.asked) == 24


def test_twelve_days_without_a_trip_are_no_endless_feed(serve: Serve) -> None:
    platform = serve(lambda exchange: exchange.reply(200, reply([])))
    taken, error = pages(mds(platform.url, first_days=12).fetch(None, None, now=NOW))
    assert error is None
    assert len(taken) == 12
    assert taken[-1].cursor["read_until"] == "2026-10-06T01:00:00+00:00"


def test_a_busy_day_is_cut_into_pages_and_gone_on_with_at_the_hour(serve: Serve) -> None:
    platform = serve(
        lambda exchange: exchange.reply(
            200, reply([TRIP | {"trip_id": f"{query_of(exchange.path)['end_time']}/{i}"} for i in range(4)])
        )
    )
    taken, error = pages(mds(platform.url, rows=10).fetch(None, None, now=NOW, window=WINDOW))
    assert error is None
    assert [len(page.delivery.rows) for page in taken] == [12, 4]
    rest, _ = pages(mds(platform.url, rows=10).fetch(None, taken[0].cursor, now=NOW, window=WINDOW))
    assert [page.delivery.rows for page in rest] == [taken[1].delivery.rows]


@pytest.mark.parametrize(
    "page", ["2", "2026-10-05T00:30:00+00:00", "2026-10-05T01:00:00+00:00", "2026-10-04T23:00:00+00:00", "2026-10-05T00:00:00"]
)  # fmt: skip
def test_a_cursor_that_stands_at_no_hour_of_its_span_is_not_ours(serve: Serve, page: str) -> None:
    platform = serve(answer_mds)
    cursor = Cursor(
        read_until=None, span_start="2026-10-05T00:00:00+00:00", span_end="2026-10-05T01:00:00+00:00", page=page
    )
    _, error = pages(mds(platform.url).fetch(None, cursor, now=NOW))
    assert type(error) is Stop


def test_reading_begins_when_the_interface_opened_where_that_is_told(serve: Serve) -> None:
    platform = serve(lambda exchange: exchange.reply(200, reply([])))
    assert pages(mds(platform.url, since="2026-10-04T00").fetch(None, None, now=NOW))[1] is None
    assert hours(platform)[0] == "2026-10-04T00"
    platform.asked.clear()
    assert pages(mds(platform.url, since="2026-12-01T00").fetch(None, None, now=NOW))[1] is None
    assert hours(platform) == ["2026-10-06T00"]


def test_an_hour_that_is_not_there_since_the_interface_is_open_is_for_a_person_to_look_at(serve: Serve) -> None:
    platform = serve(lambda exchange: exchange.reply(404, {}))
    taken, error = pages(mds(platform.url, since="2026-10-05T22").fetch(None, None, now=NOW))
    assert (taken, type(error), error.reason) == ([], SetAside, "answered_404")


def test_it_says_that_its_rows_name_nobody() -> None:
    described = mds("http://127.0.0.1:1").describe()
    assert described.corroborates
    assert described.scope is Scope.PLATFORM
    assert {"device_id", "start_location", "end_location"} <= set(described.drops)
    assert (described.correction_mode, described.overlap) == ("replace", timedelta(hours=2))


def test_the_config_speaks_of_its_fields() -> None:
    assert "canary" not in repr(parse_config({"trips_url": "https://e.cn/trips"}, {"token": "canary"}))
    with pytest.raises(ValueError, match="'trips_url'"):
        parse_config({"trips_url": "https://e.cn/trips?end_time=1"}, {"token": "t"})
    for since in ("2026-10-32T00", "yesterday", "2026-10-01", "2026-10-01T24"):
        with pytest.raises(ValueError, match="'since'"):
            parse_config({"trips_url": "https://e.cn/trips", "since": since}, {"token": "t"})
    with pytest.raises(ValueError, match="'token'"):
        parse_config({"trips_url": "https://e.cn/trips"}, {"token": "t\x00"})
