"""Baidu track distances: the signature's vector, one distance for each listed trip, and what the status numbers mean."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests_support.pulling import pages
from tests_support.span_pulls import GUIDED, LINK, NOW, answer_baidu, baidu, baidu_sign, query_of

from connectors.base import Cursor, RetryLater, Scope, SetAside, Stop, Window
from connectors.formats.baidu_track import BaiduTrack, parse_config, sign_query

Serve = Callable[[Callable[[Any], None]], Any]
WINDOW = Window(since=NOW - timedelta(hours=1))
ADDRESS = [("address", "百度大厦"), ("output", "json"), ("ak", "yourak")]
SN = "7de5a22212ffaa9e326444c75a58f9a0"


def distances(platform: Any) -> list[dict[str, str]]:
    return [query_of(one.path) for one in platform.asked if urlsplit(one.path).path.endswith("getdistance")]


def lists(platform: Any) -> list[dict[str, str]]:
    return [query_of(one.path) for one in platform.asked if urlsplit(one.path).path == "/guided/trips"]


def answering(trips: list[Any], distance: bytes = b"3120.50", total: int | None = None) -> Callable:
    def answer(exchange: Any) -> None:
        if urlsplit(exchange.path).path == "/guided/trips":
            query = query_of(exchange.path)
            size, index = int(query["page_size"]), int(query["page_index"])
            page = trips[size * (index - 1) : size * index]
            count = len(trips) if total is None else total
            return exchange.reply(200, {"status": 0, "message": "成功", "total": count, "trips": page})
        return exchange.reply_bytes(200, b'{"status":0,"message":"ok","distance":' + distance + b"}")

    return answer


def test_the_vector_of_the_signature() -> None:
    signed = sign_query("/geocoder/v2/", ADDRESS, "yoursk")
    assert signed == ("/geocoder/v2/?address=%E7%99%BE%E5%BA%A6%E5%A4%A7%E5%8E%A6&output=json&ak=yourak&sn=" + SN)
    # The order counts, and so does every character of value and key.
    assert SN not in sign_query("/geocoder/v2/", [ADDRESS[1], ADDRESS[0], ADDRESS[2]], "yoursk")
    assert SN not in sign_query("/geocoder/v2/", [("address", "百度大夏"), *ADDRESS[1:]], "yoursk")
    assert SN not in sign_query("/geocoder/v2/", ADDRESS, "yoursl")
    assert SN not in sign_query("/geocoder/v3/", ADDRESS, "yoursk")


def test_each_listed_trip_becomes_a_row_with_the_distance_as_it_was_written(serve: Serve) -> None:
    walk = GUIDED | {"trip_id": "g-2", "transport_mode": "walking", "start_time": 1791180000, "end_time": 1791181000}
    platform = serve(answering([GUIDED, walk]))
    taken, error = pages(baidu(platform.url).fetch(LINK, None, now=NOW, window=WINDOW))
    assert error is None
    assert taken[0].delivery.rows == (
        (
            b'{"trip_id":"g-1","entity_name":"bd-000123","transport_mode":"riding","start_time":1791176400,'
            b'"end_time":1791177000,"distance":3120.50}'
        ),
        (
            b'{"trip_id":"g-2","entity_name":"bd-000123","transport_mode":"walking","start_time":1791180000,'
            b'"end_time":1791181000,"distance":3120.50}'
        ),
    )
    assert taken[0].delivery.account == "bd-000123"
    first, second = distances(platform)
    assert list(first) == [
        "ak", "service_id", "entity_name", "start_time", "end_time", "is_processed", "process_option",
        "supplement_mode", "sn",
    ]  # fmt: skip
    assert first["process_option"] == "denoise_grade=1,need_mapmatch=0,transport_mode=riding"
    assert second["process_option"].endswith("transport_mode=walking")
    assert (first["start_time"], first["end_time"], first["supplement_mode"]) == (
        "1791176400",
        "1791177000",
        "no_supplement",
    )
    assert all(query_of(one.path)["sn"] == baidu_sign(one.path) for one in platform.asked)
    assert all("canary" not in one.path for one in platform.asked)  # neither the link's token nor the secret key
    assert [one.headers.get("authorization") for one in platform.asked] == ["Bearer canary-token", None, None]


def test_only_rides_and_walks_are_asked_about(serve: Serve) -> None:
    platform = serve(answering([GUIDED | {"transport_mode": "driving"}]))
    taken, error = pages(baidu(platform.url).fetch(LINK, None, now=NOW, window=WINDOW))
    assert error is None
    assert json.loads(taken[0].delivery.rows[0])["distance"] is None
    assert distances(platform) == []


def test_days_are_asked_for_page_by_page_and_gone_on_with_from_every_cursor(serve: Serve) -> None:
    trips = [GUIDED | {"trip_id": f"g-{i}"} for i in range(5)]
    platform = serve(answering(trips))
    taken, error = pages(baidu(platform.url, page_size=2).fetch(LINK, None, now=NOW, window=WINDOW))
    assert error is None
    assert [query["page_index"] for query in lists(platform)] == ["1", "2", "3"]
    named = [json.loads(row)["trip_id"] for page in taken for row in page.delivery.rows]
    assert named == [f"g-{i}" for i in range(5)]
    rest, error = pages(baidu(platform.url, page_size=2).fetch(LINK, Cursor(taken[0].cursor), now=NOW, window=WINDOW))
    assert error is None
    assert [json.loads(row)["trip_id"] for page in rest for row in page.delivery.rows] == named[2:]
    platform.asked.clear()
    assert pages(baidu(platform.url, first_days=20).fetch(LINK, None, now=NOW))[1] is None
    spans = [(int(q["start_time"]), int(q["end_time"])) for q in lists(platform)]
    assert len(spans) == 3
    assert all(end - start <= 7 * 86_400 for start, end in spans)
    assert [end for _, end in spans[:-1]] == [start for start, _ in spans[1:]]
    assert spans[-1][1] == int(NOW.timestamp()) - 600  # what is younger than ten minutes may still grow


def test_two_days_are_read_again_because_late_points_lengthen_a_track(serve: Serve) -> None:
    platform = serve(answer_baidu)
    taken, _ = pages(baidu(platform.url).fetch(LINK, None, now=NOW))
    platform.asked.clear()
    assert pages(baidu(platform.url).fetch(LINK, taken[-1].cursor, now=NOW + timedelta(hours=1)))[1] is None
    assert int(lists(platform)[0]["start_time"]) == int((NOW - timedelta(days=2, minutes=10)).timestamp())
    described = baidu(platform.url).describe()
    assert (described.correction_mode, described.scope, described.official) == ("replace", Scope.LINK, False)


@pytest.mark.parametrize("where", ["list", "distance"])
@pytest.mark.parametrize(
    ("status", "expected", "reason"),
    [
        (1, RetryLater, "baidu_1"), (302, RetryLater, "baidu_302"), (401, RetryLater, "baidu_401"),
        (3, Stop, "credentials_refused"), (5, Stop, "credentials_refused"), (102, Stop, "credentials_refused"),
        (211, Stop, "credentials_refused"), (301, Stop, "credentials_refused"), (2, SetAside, "baidu_2"),
        (9999, SetAside, "baidu_refuses"), ("0", SetAside, "page_status"), (None, SetAside, "page_status"),
        (True, SetAside, "page_status"), (-1, SetAside, "page_status"),
    ],
)  # fmt: skip
def test_a_status_number_ends_by_what_to_do_about_it(
    serve: Serve, where: str, status: Any, expected: type, reason: str
) -> None:
    def answer(exchange: Any) -> None:
        if where == "distance" and urlsplit(exchange.path).path == "/guided/trips":
            return answering([GUIDED])(exchange)
        return exchange.reply(200, {"status": status, "message": "canary"})

    platform = serve(answer)
    taken, error = pages(baidu(platform.url).fetch(LINK, None, now=NOW, window=WINDOW))
    assert (taken, type(error), error.reason) == ([], expected, reason)


def test_somebody_who_was_never_guided_has_no_trips(serve: Serve) -> None:
    platform = serve(lambda exchange: exchange.reply(200, {"status": 3003, "message": "canary"}))
    taken, error = pages(baidu(platform.url).fetch(LINK, None, now=NOW, window=WINDOW))
    assert error is None
    assert taken[0].delivery.rows == ()


BROKEN: list[tuple[Any, str]] = [
    (7, "not_an_object"),
    ({}, "trip_id"),
    (GUIDED | {"trip_id": 7}, "trip_id"),
    (GUIDED | {"trip_id": "a b"}, "trip_id"),
    (GUIDED | {"trip_id": "x" * 65}, "trip_id"),
    (GUIDED | {"transport_mode": None}, "transport_mode"),
    (GUIDED | {"transport_mode": "riding&sn=1"}, "transport_mode"),
    (GUIDED | {"transport_mode": {"a": 1}}, "transport_mode"),
    (GUIDED | {"start_time": "1791176400"}, "trip_time"),
    (GUIDED | {"start_time": True}, "trip_time"),
    (GUIDED | {"start_time": 1791176400000}, "trip_time"),
    (GUIDED | {"start_time": -1}, "trip_time"),
    (GUIDED | {"end_time": 1791176400.5}, "trip_time"),
    (GUIDED | {"end_time": GUIDED["start_time"]}, "trip_length"),
    (GUIDED | {"end_time": int(GUIDED["start_time"]) + 86_401}, "trip_length"),  # type: ignore[call-overload]
]


@pytest.mark.parametrize(("trip", "reason"), BROKEN)
def test_a_broken_trip_is_set_aside_and_disturbs_no_other(serve: Serve, trip: Any, reason: str) -> None:
    platform = serve(answering([GUIDED, trip, GUIDED | {"trip_id": "g-3"}]))
    taken, error = pages(baidu(platform.url).fetch(LINK, None, now=NOW, window=WINDOW))
    assert error is None
    assert [json.loads(row)["trip_id"] for row in taken[0].delivery.rows] == ["g-1", "g-3"]
    assert [(bad.position, bad.reason) for bad in taken[0].delivery.unreadable] == [(1, reason)]
    assert len(distances(platform)) == 2


@pytest.mark.parametrize("distance", [b"null", b'"3120"', b"true", b"[]", b"{}"])
def test_an_answer_without_a_distance_is_set_aside(serve: Serve, distance: bytes) -> None:
    platform = serve(answering([GUIDED], distance))
    taken, error = pages(baidu(platform.url).fetch(LINK, None, now=NOW, window=WINDOW))
    assert error is None
    assert [bad.reason for bad in taken[0].delivery.unreadable] == ["no_distance"]


def test_a_trip_without_a_track_is_set_aside(serve: Serve) -> None:
    def answer(exchange: Any) -> None:
        if urlsplit(exchange.path).path == "/guided/trips":
            return answering([GUIDED])(exchange)
        return exchange.reply(200, {"status": 3003, "message": "canary"})

    platform = serve(answer)
    taken, error = pages(baidu(platform.url).fetch(LINK, None, now=NOW, window=WINDOW))
    assert error is None
    assert [bad.reason for bad in taken[0].delivery.unreadable] == ["no_track"]


@pytest.mark.parametrize("account", ["a&sn=1", "a b", "a/../b", "百度", "", "a" * 129, "a#b", "a?b", "a%26b"])
def test_an_account_that_means_something_in_a_query_is_never_asked_for(serve: Serve, account: str) -> None:
    platform = serve(answer_baidu)
    _, error = pages_of(lambda: baidu(platform.url).fetch(replace(LINK, account=account), None, now=NOW))
    assert (type(error), error.reason) == (SetAside, "account_cannot_be_asked_for")
    assert platform.asked == []


def pages_of(source: Callable[[], Any]) -> tuple[list[Any], Any]:
    try:
        return pages(source())
    except SetAside as error:
        return [], error


def test_a_list_that_is_repeated_for_ever_is_left(serve: Serve) -> None:
    def answer(exchange: Any) -> None:
        if urlsplit(exchange.path).path == "/guided/trips":
            return exchange.reply(200, {"status": 0, "total": 10**9, "trips": [GUIDED]})
        return answering([])(exchange)

    platform = serve(answer)
    _, error = pages(baidu(platform.url).fetch(LINK, None, now=NOW, window=WINDOW))
    assert (type(error), error.reason) == (SetAside, "repeated_pages")


def test_the_config_speaks_of_its_fields() -> None:
    good = {"trips_url": "https://e.cn/trips", "service_id": "222"}
    assert "canary" not in repr(parse_config(good, {"ak": "canary", "sk": "canary"}))
    for field, value in (
        ("service_id", "2 2"), ("trips_url", "https://e.cn/trips?a=1"), ("base_url", "https://e.cn/deeper"),
        ("base_url", "https://e.cn?a=1"), ("page_size", 0),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"'{field}'"):
            parse_config(good | {field: value}, {"ak": "a", "sk": "s"})
    with pytest.raises(ValueError, match="'ak'"):
        parse_config(good, {"ak": "a&b", "sk": "s"})
    for inner in ("https://169.254.169.254", "https://10.0.0.1", "https://127.0.0.1"):
        for name, url in (("trips_url", f"{inner}/trips"), ("base_url", inner)):
            with pytest.raises(Stop):
                BaiduTrack(parse_config(good | {name: url}, {"ak": "a", "sk": "s"}))


def test_the_distance_is_asked_for_without_the_persons_token_and_its_refusal_is_the_hubs(serve: Serve) -> None:
    def answer(exchange: Any) -> None:
        if urlsplit(exchange.path).path == "/guided/trips":
            return answering([GUIDED])(exchange)
        return exchange.reply(401, {})

    platform = serve(answer)
    _, error = pages(baidu(platform.url).fetch(LINK, None, now=NOW, window=WINDOW))
    assert (type(error), error.reason) == (Stop, "credentials_refused")


def test_a_token_that_is_bound_to_a_key_is_proved_and_shown_once_more_with_the_nonce(serve: Serve) -> None:
    heard: list[int] = []

    def prove(*, method: str, url: str) -> dict[str, str]:
        return {"authorization": "DPoP t", "dpop": f"{method} {url} {len(heard)}"}

    def hear(*, url: str, status: int, headers: Any) -> bool:
        heard.append(status)
        return status == 401

    def answer(exchange: Any) -> None:
        if exchange.headers.get("dpop", "x").endswith(" 0"):
            return exchange.reply(401, {}, {"dpop-nonce": "n"})
        return answering([])(exchange)

    platform = serve(answer)
    bound = replace(LINK, prove=prove, hear=hear)
    _, error = pages(baidu(platform.url).fetch(bound, None, now=NOW, window=WINDOW))
    assert error is None
    assert [one.headers["dpop"].rpartition(" ")[2] for one in platform.asked] == ["0", "1"]
    assert f"GET {platform.url}/guided/trips 0" == platform.asked[0].headers["dpop"]
