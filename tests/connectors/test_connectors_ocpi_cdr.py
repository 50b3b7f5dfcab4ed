"""OCPI charge detail records: paging by link, totals that drop, the envelope's codes, tokens with and without base64."""

import base64
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests_support.pulling import pages
from tests_support.span_pulls import NOW, OCPI_TOKEN, ocpi, query_of

from connectors.base import Cursor, RetryLater, SetAside, Stop, Window
from connectors.formats.ocpi_cdr import find_next, parse_config

Serve = Callable[[Callable[[Any], None]], Any]
WINDOW = Window(since=NOW - timedelta(days=3))


def cdrs(count: int) -> list[dict[str, Any]]:
    return [{"country_code": "CN", "party_id": "KDN", "id": f"C{i:03d}", "total_energy": 6.0} for i in range(count)]


def envelope(rows: list[Any], status: int = 1000) -> dict[str, Any]:
    return {"data": rows, "status_code": status, "status_message": "canary", "timestamp": "2026-10-06T01:30:00Z"}


def ids(taken: list[Any]) -> list[str]:
    return [json.loads(row)["id"] for page in taken for row in page.delivery.rows]


def paged(rows: list[Any], *, relative: bool = False, total: Callable[[int], int] | None = None) -> Callable:
    """A platform that pages by offset, with the links that the standard asks for."""
    asked = 0

    def answer(exchange: Any) -> None:
        nonlocal asked
        asked += 1
        query = query_of(exchange.path)
        offset, limit = int(query["offset"]), int(query["limit"])
        headers = {"X-Total-Count": str(len(rows) if total is None else total(asked)), "X-Limit": str(limit)}
        if offset + limit < len(rows):
            path = exchange.path.replace(f"offset={offset}", f"offset={offset + limit}")
            base = "" if relative else f"http://{exchange.headers['host']}"
            headers["Link"] = f'<{base}{path}>; rel="next", <{base}/ocpi/2.2.1/cdrs>; rel="first"'
        exchange.reply(200, envelope(rows[offset : offset + limit]), headers)

    return answer


@pytest.mark.parametrize("relative", [False, True])
def test_pages_are_followed_by_their_link(serve: Serve, relative: bool) -> None:
    platform = serve(paged(cdrs(25), relative=relative))
    taken, error = pages(ocpi(platform.url, limit=10).fetch(None, None, now=NOW, window=WINDOW))
    assert error is None
    assert ids(taken) == [row["id"] for row in cdrs(25)]
    first = query_of(platform.asked[0].path)
    assert first == {
        "date_from": "2026-10-03T01:30:00.000Z", "date_to": "2026-10-06T01:30:00.000Z", "offset": "0", "limit": "10",
    }  # fmt: skip
    assert [query_of(one.path)["offset"] for one in platform.asked] == ["0", "10", "20"]
    assert {urlsplit(one.path).path for one in platform.asked} == {"/ocpi/2.2.1/cdrs"}
    assert len({one.headers["x-request-id"] for one in platform.asked}) == 3
    assert [page.delivery.delivery_id for page in taken] == [one.headers["x-request-id"] for one in platform.asked]


def test_rows_are_the_bytes_of_the_platform(serve: Serve) -> None:
    row = b'{"id":"1", "total_energy" : 6.00,"country_code":"CN"}'
    body = b'{"status_code":1000,"data":[' + row + b', {"id":1,"id":2}]}'
    platform = serve(lambda exchange: exchange.reply_bytes(200, body))
    taken, error = pages(ocpi(platform.url).fetch(None, None, now=NOW, window=WINDOW))
    assert error is None
    assert taken[0].delivery.rows == (row,)
    assert [(bad.position, bad.reason) for bad in taken[0].delivery.unreadable] == [(1, "duplicate_key")]


@pytest.mark.parametrize(
    ("encode", "told"), [(True, base64.b64encode(OCPI_TOKEN.encode()).decode()), (False, OCPI_TOKEN)]
)
def test_the_token_is_encoded_unless_the_peer_wants_it_as_it_is(serve: Serve, encode: bool, told: str) -> None:
    platform = serve(lambda exchange: exchange.reply(200, envelope([])))
    assert pages(ocpi(platform.url, encode_token=encode).fetch(None, None, now=NOW, window=WINDOW))[1] is None
    assert platform.asked[0].headers["authorization"] == f"Token {told}"


def test_reading_goes_on_from_every_cursor_and_one_hour_back(serve: Serve) -> None:
    platform = serve(paged(cdrs(25)))
    taken, _ = pages(ocpi(platform.url, limit=10).fetch(None, None, now=NOW, window=WINDOW))
    for done in range(2):
        cursor = Cursor(json.loads(json.dumps(taken[done].cursor)))
        rest, error = pages(ocpi(platform.url, limit=10).fetch(None, cursor, now=NOW, window=WINDOW))
        assert error is None
        assert ids(rest) == [row["id"] for row in cdrs(25)][10 * (done + 1) :]
    platform.asked.clear()
    later = NOW + timedelta(minutes=15)
    assert pages(ocpi(platform.url, limit=100).fetch(None, taken[-1].cursor, now=later))[1] is None
    assert query_of(platform.asked[0].path)["date_from"] == "2026-10-06T00:30:00.000Z"
    assert query_of(platform.asked[0].path)["date_to"] == "2026-10-06T01:45:00.000Z"


def test_a_long_past_is_asked_for_in_spans_that_touch(serve: Serve) -> None:
    platform = serve(lambda exchange: exchange.reply(200, envelope([])))
    assert pages(ocpi(platform.url, first_days=17).fetch(None, None, now=NOW))[1] is None
    spans = [(query_of(one.path)["date_from"], query_of(one.path)["date_to"]) for one in platform.asked]
    assert len(spans) == 3
    assert [end for _, end in spans[:-1]] == [start for start, _ in spans[1:]]
    assert (spans[0][0], spans[-1][1]) == ("2026-09-19T01:30:00.000Z", "2026-10-06T01:30:00.000Z")


def test_a_total_that_drops_steps_back_so_that_no_record_falls_between_two_pages(serve: Serve) -> None:
    rows = cdrs(25)
    live = list(rows)

    def answer(exchange: Any) -> None:
        if len(platform.asked) == 2:
            del live[3]  # it was updated, and now belongs to a later span
        paged(live)(exchange)

    platform = serve(answer)
    taken, error = pages(ocpi(platform.url, limit=10).fetch(None, None, now=NOW, window=WINDOW))
    assert error is None
    assert set(ids(taken)) == {row["id"] for row in rows}  # C010 slid to the first page's end: it is not missed
    assert [query_of(one.path)["offset"] for one in platform.asked] == ["0", "10", "9", "19"]


def test_a_total_that_drops_across_a_crash_is_seen_by_the_next_run(serve: Serve) -> None:
    live = cdrs(25)
    platform = serve(lambda exchange: paged(live)(exchange))
    source = ocpi(platform.url, limit=10).fetch(None, None, now=NOW, window=WINDOW)
    cursor = Cursor(json.loads(json.dumps(next(source).cursor)))
    del live[0:2]
    rest, error = pages(ocpi(platform.url, limit=10).fetch(None, cursor, now=NOW, window=WINDOW))
    assert error is None
    assert ids(rest)[0] == "C010"


def test_without_an_offset_in_the_link_a_drop_begins_the_span_again(serve: Serve) -> None:
    def answer(exchange: Any) -> None:
        number, query = len(platform.asked), query_of(exchange.path)
        headers = {"x-total-count": "9" if number == 1 else "8"}
        if "at" not in query:
            headers["link"] = f"<{platform.url}/ocpi/2.2.1/cdrs?at=b>; rel=next"
        exchange.reply(200, envelope(cdrs(number)), headers)

    platform = serve(answer)
    assert pages(ocpi(platform.url).fetch(None, None, now=NOW, window=WINDOW))[1] is None
    assert [("at" in query_of(one.path)) for one in platform.asked] == [False, True, False, True]


def test_a_total_that_goes_on_dropping_is_asked_for_later(serve: Serve) -> None:
    platform = serve(paged(cdrs(25), total=lambda asked: 100 - asked))
    taken, error = pages(ocpi(platform.url, limit=10).fetch(None, None, now=NOW, window=WINDOW))
    assert len(taken) == 1
    assert (type(error), error.reason) == (RetryLater, "total_unsteady")


@pytest.mark.parametrize(
    ("link", "reason"),
    [
        ("<http://127.0.0.1:1/ocpi/2.2.1/cdrs?offset=10>", "next_page_elsewhere"),
        ("<https://evil.example/ocpi/2.2.1/cdrs>", "next_page_elsewhere"),
        ("<{url}/ocpi/2.2.1/tokens?offset=10>", "next_page_elsewhere"),
        ("<{url}/ocpi/2.2.1/cdrs/../tokens>", "next_page_elsewhere"),
        ("<//evil.example/ocpi/2.2.1/cdrs>", "next_page_elsewhere"),
        ("<http://u:p@127.0.0.1/ocpi/2.2.1/cdrs>", "next_page_elsewhere"),
        ("<file:///etc/passwd>", "next_page_elsewhere"),
        ("<http://[::1/cdrs>", "next_page_unreadable"),
        ("<{url}/ocpi/2.2.1/cdrs?a=" + "a" * 2100 + ">", "next_page_unreadable"),
        ("<{url}/ocpi/2.2.1/cdrs?a= b>", "next_page_unreadable"),
        ("<>", None),
    ],
)
def test_a_link_that_leads_elsewhere_is_never_followed(serve: Serve, link: str, reason: str | None) -> None:
    def answer(exchange: Any) -> None:
        exchange.reply(200, envelope(cdrs(1)), {"Link": link.replace("{url}", platform.url) + '; rel="next"'})

    platform = serve(answer)
    taken, error = pages(ocpi(platform.url).fetch(None, None, now=NOW, window=WINDOW))
    assert len(platform.asked) == 1 or reason is None
    if reason is None:  # an empty target is the page itself: a circle
        assert type(error) is SetAside
    else:
        assert (taken, type(error), error.reason) == ([], Stop, reason)
    assert "evil" not in str(error)


def test_a_cursor_with_a_link_elsewhere_is_not_followed_either(serve: Serve) -> None:
    platform = serve(paged(cdrs(1)))
    cursor = Cursor(
        read_until=None, span_start="2026-10-05T00:00:00+00:00", span_end="2026-10-05T01:00:00+00:00",
        page=json.dumps(["http://127.0.0.1:1/ocpi/2.2.1/cdrs", None]),
    )  # fmt: skip
    taken, error = pages(ocpi(platform.url).fetch(None, cursor, now=NOW))
    assert (taken, type(error), platform.asked) == ([], Stop, [])


@pytest.mark.parametrize("repeat", ["same_page", "circle"])
def test_a_platform_that_turns_in_a_circle_is_left(serve: Serve, repeat: str) -> None:
    def answer(exchange: Any) -> None:
        number = len(platform.asked)
        offset = number * 10 if repeat == "same_page" else number % 2
        headers = {"Link": f'<{platform.url}/ocpi/2.2.1/cdrs?offset={offset}>; rel="next"'}
        exchange.reply(200, envelope(cdrs(2 if repeat == "same_page" else number)), headers)

    platform = serve(answer)
    _, error = pages(ocpi(platform.url).fetch(None, None, now=NOW, window=WINDOW))
    assert (type(error), error.reason) == (SetAside, "repeated_pages" if repeat == "same_page" else "cursor_loop")
    assert len(platform.asked) < 10


@pytest.mark.parametrize(
    ("status", "expected", "reason"),
    [
        (2000, SetAside, "ocpi_2000"), (2001, SetAside, "ocpi_2001"), (2004, Stop, "ocpi_2004"),
        (3000, RetryLater, "ocpi_3000"), (3001, Stop, "ocpi_3001"), (3002, Stop, "ocpi_3002"),
        (4001, Stop, "ocpi_4001"), (4002, RetryLater, "ocpi_4002"), (4003, RetryLater, "ocpi_4003"),
        (1001, SetAside, "ocpi_1001"), (0, SetAside, "page_status_code"), (99999, SetAside, "page_status_code"),
        ("1000", SetAside, "page_status_code"), (True, SetAside, "page_status_code"), (None, SetAside, "page_status_code"),
    ],
)  # fmt: skip
def test_the_envelope_must_say_1000(serve: Serve, status: Any, expected: type, reason: str) -> None:
    platform = serve(lambda exchange: exchange.reply(200, envelope(cdrs(1), status)))
    taken, error = pages(ocpi(platform.url).fetch(None, None, now=NOW, window=WINDOW))
    assert (taken, type(error), error.reason) == ([], expected, reason)


@pytest.mark.parametrize("total", ["many", "-1", "1e9", "9999999999"])
def test_a_total_that_is_no_number_is_for_a_person_to_look_at(serve: Serve, total: str) -> None:
    platform = serve(lambda exchange: exchange.reply(200, envelope([]), {"x-total-count": total}))
    _, error = pages(ocpi(platform.url).fetch(None, None, now=NOW, window=WINDOW))
    assert (type(error), error.reason) == (SetAside, "page_total_count")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("", None),
        ('<https://e.cn/c?a=1,2;3>; rel="next"', "https://e.cn/c?a=1,2;3"),
        ('<https://e.cn/a>; rel="first", <https://e.cn/b>; title="x, y"; REL=next', "https://e.cn/b"),
        ('<https://e.cn/a>; rel="prev next"', "https://e.cn/a"),
        ('<https://e.cn/a>; rel="nextish"', None),
        ('<https://e.cn/a>; title="rel=next"', None),
        ("https://e.cn/a; rel=next", None),
    ],
)
def test_the_next_link_is_found_among_others(header: str | None, expected: str | None) -> None:
    assert find_next(header) == expected


def test_a_header_without_end_is_not_searched() -> None:
    with pytest.raises(SetAside):
        find_next("<" * 9000)


def test_the_config_speaks_of_its_fields() -> None:
    config = parse_config({"cdrs_url": "https://e.cn/cdrs"}, {"token": "canary"})
    assert (config.limit, config.encode_token) == (100, True)
    assert "canary" not in repr(config)
    for wrong in ({"cdrs_url": "https://e.cn/cdrs?a=1"}, {"cdrs_url": "https://e.cn/cdrs", "limit": 0}):
        with pytest.raises(ValueError, match="config: field"):
            parse_config(wrong, {"token": "t"})
    with pytest.raises(ValueError, match="secrets: field 'token'"):
        parse_config({"cdrs_url": "https://e.cn/cdrs"}, {"token": "a\nb"})


def test_it_says_how_it_corrects_and_how_far_back_it_reads() -> None:
    described = ocpi("http://127.0.0.1:1").describe()
    assert (described.correction_mode, described.overlap, described.role) == ("version", timedelta(hours=1), "meter")
    assert "cdr_token.uid" in described.drops
