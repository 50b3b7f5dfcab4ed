"""Connected-car trips: how they are asked for, their pages, and what comes of trips that are written badly."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests_support.link_pulls import ACCESS, NOW, TRIP, answer_car, car, query_of, trips_page
from tests_support.pulling import pages

from connectors.base import LinkAccess, RetryLater, SetAside, Window
from connectors.config import ConfigError
from connectors.formats.connected_car import parse_config

SHORT = Window(since=NOW - timedelta(days=3))


def read(platform: Any, **settings: object) -> tuple[list[Any], Any]:
    return pages(car(platform.url, **settings).fetch(ACCESS, None, now=NOW, window=SHORT))


def ids(taken: list[Any]) -> list[str]:
    return [json.loads(row)["id"] for page in taken for row in page.delivery.rows]


def serve_five(platform_asked: Callable[[], int], *, fail_at: int | None = None) -> Callable[[Any], None]:
    def answer(exchange: Any) -> None:
        if platform_asked() == fail_at:
            return exchange.reply(500, {})
        query = query_of(exchange.path)
        offset, limit = int(query["offset"]), int(query["limit"])
        trips = [TRIP | {"id": f"t-{i}"} for i in range(offset, min(offset + limit, 5))]
        following = offset + limit if offset + limit < 5 else None
        return exchange.reply(200, trips_page(trips, total=5, following=following))

    return answer


def test_days_are_asked_for_without_the_route(serve: Callable) -> None:
    platform = serve(answer_car)
    window = Window(since=datetime(2026, 10, 1, 12, 0, tzinfo=UTC), until=datetime(2026, 10, 5, 1, 0, tzinfo=UTC))
    taken, error = pages(car(platform.url).fetch(ACCESS, None, now=NOW, window=window))
    assert error is None
    assert query_of(platform.asked[0].path) == {
        "from": "2026-10-01", "to": "2026-10-05", "route": "false", "summary": "true", "limit": "50", "offset": "0",
    }  # fmt: skip
    assert platform.asked[0].headers["x-request-id"] == taken[0].delivery.delivery_id
    assert "vin" not in platform.asked[0].headers


def test_pages_are_counted_and_a_run_goes_on_where_it_stopped(serve: Callable) -> None:
    platform = serve(lambda ask: serve_five(lambda: len(platform.asked), fail_at=2)(ask))
    taken, error = read(platform, limit=2)
    assert isinstance(error, RetryLater)
    assert taken[-1].cursor["page"] == "2"
    more, error = pages(car(platform.url, limit=2).fetch(ACCESS, taken[-1].cursor, now=NOW, window=SHORT))
    assert error is None
    assert ids(taken + more) == [f"t-{i}" for i in range(5)]


def test_a_trip_goes_on_as_it_was_written(serve: Callable) -> None:
    row = b'{"id" : "t", "summary":{"fuelConsumption":226.0 ,"startLat":0.0}, "hdc":{"evDistance":13170}}'
    pagination = b'{"pagination":{"totalCount":3,"nextOffset":null}}'
    body = b'{"payload":{"trips":[%s,7,{"a":NaN}],"_metadata":%s}}' % (row, pagination)
    taken, error = read(serve(lambda ask: ask.reply_bytes(200, body)))
    assert error is None
    assert taken[0].delivery.rows == (row,)
    told = [(bad.position, bad.reason) for bad in taken[0].delivery.unreadable]
    assert told == [(1, "not_an_object"), (2, "not_a_number")]


@pytest.mark.parametrize("following", [None, 1, 2, 999])
def test_reading_ends_where_no_trip_is_left(serve: Callable, following: int | None) -> None:
    platform = serve(lambda ask: ask.reply(200, trips_page([TRIP], total=1, following=following)))
    taken, error = read(platform)
    assert (error, len(taken), len(platform.asked)) == (None, 1, 1)


@pytest.mark.parametrize(
    ("total", "following", "reason"),
    [
        (9, 0, "page_leads_backwards"), (9, -1, "page_nextOffset"), (9, "1", "page_nextOffset"),
        (9, 1.0, "page_nextOffset"), (9, True, "page_nextOffset"), (9, 10**30, "page_nextOffset"),
        (None, 1, "page_totalCount"), ("9", 1, "page_totalCount"), (-1, 1, "page_totalCount"),
    ],
)  # fmt: skip
def test_a_page_that_counts_strangely_is_set_aside(
    serve: Callable, total: object, following: object, reason: str
) -> None:
    document = trips_page([TRIP], total=1, following=None)
    document["payload"]["_metadata"]["pagination"] |= {"totalCount": total, "nextOffset": following}
    taken, error = read(serve(lambda ask: ask.reply(200, document)))
    assert (taken, type(error), str(error)) == ([], SetAside, reason)


def test_the_same_page_for_ever_is_not_read_for_ever(serve: Callable) -> None:
    def answer(exchange: Any) -> None:
        offset = int(query_of(exchange.path)["offset"])
        exchange.reply(200, trips_page([TRIP], total=10**7, following=offset + 1))

    taken, error = read(serve(answer))
    assert (type(error), error.reason) == (SetAside, "repeated_pages")
    assert len(taken) < 10


def test_far_more_trips_than_were_asked_for_are_set_aside(serve: Callable) -> None:
    for count, reason in ((4, "None"), (5001, "page_too_many_records")):
        document = trips_page([{}] * count, total=count, following=None)
        _, error = read(serve(lambda ask, document=document: ask.reply(200, document)), limit=2)
        assert str(error) == reason


def test_a_service_that_wants_the_vehicle_in_a_header_is_told_the_links_account(serve: Callable) -> None:
    platform = serve(answer_car)
    read(platform, account_header="Vin")
    assert platform.asked[0].headers["vin"] == "acc-000123"
    for account in ("", "a b", "x\r\nevil: 1", "长"):
        access = LinkAccess(link_id="7", account=account, access_token="t")
        _, error = pages(car(platform.url, account_header="vin").fetch(access, None, now=NOW, window=SHORT))
        assert str(error) == "account_unfit"
    assert len(platform.asked) == 1


@pytest.mark.parametrize("header", ["Authorization", "host", "vin\r\n", "x y", "accept"])
def test_a_header_of_ours_cannot_be_taken_for_it(header: str) -> None:
    with pytest.raises(ConfigError, match="account_header"):
        parse_config({"trips_url": "https://platform.example/v1/trips", "account_header": header}, {})


def test_a_page_in_a_cursor_that_is_no_number_is_set_aside(serve: Callable) -> None:
    platform = serve(answer_car)
    first = next(iter(car(platform.url).fetch(ACCESS, None, now=NOW, window=SHORT)))
    start, end = "2026-10-04T00:00:00+00:00", "2026-10-05T00:00:00+00:00"
    for page in ("-1", "1e3", "&vin=1", ""):
        cursor = type(first.cursor)(read_until=None, span_start=start, span_end=end, page=page)
        _, error = pages(car(platform.url).fetch(ACCESS, cursor, now=NOW))
        assert str(error) == "page_next_offset"
    assert len(platform.asked) == 1
