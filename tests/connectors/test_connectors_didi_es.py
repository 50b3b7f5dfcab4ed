"""DiDi for enterprises: the signing rule's vector, tokens, windows of seven days, offsets, orders that come again."""

import itertools
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from tests_support.pulling import pages
from tests_support.span_pulls import NOW, ORDER, answer_didi, body_of, didi, didi_sign, query_of

from connectors.base import Cursor, RetryLater, SetAside, Stop, Window
from connectors.formats.didi_es import parse_config
from connectors.legacy_signing import sign_pairs

Serve = Callable[[Callable[[Any], None]], Any]
WINDOW = Window(since=NOW - timedelta(hours=1))
VECTOR = {
    "client_id": "client_id_test", "access_token": "access_token_test", "timestamp": "1566764837",
    "company_id": "12345678980", "offset": "0", "length": "100",
}  # fmt: skip
SIGNED = "cecf263fb189340e575d4faf210a5ef2"


def gets(platform: Any) -> list[dict[str, str]]:
    return [query_of(one.path) for one in platform.asked if one.method == "GET"]


def listing(rows: list[Any], total: int | None = None) -> dict[str, Any]:
    return {"errno": 0, "errmsg": "SUCCESS", "data": {"total": len(rows) if total is None else total, "records": rows}}


def orders(count: int) -> list[dict[str, Any]]:
    return [ORDER | {"order_id": f"{i:04d}"} for i in range(count)]


def answering(listed: Callable[[Any, dict[str, str]], None], tokens: list[str] | None = None) -> Callable:
    """A platform with tokens of its own: the last one issued is the good one."""
    issued = [] if tokens is None else tokens

    def answer(exchange: Any) -> None:
        if exchange.method == "POST":
            body_of(exchange)
            issued.append(f"canary-access-{len(issued)}")
            return exchange.reply(200, {"access_token": issued[-1], "expires_in": 7200})
        return listed(exchange, query_of(exchange.path))

    return answer


def test_the_vector_of_the_signing_rule() -> None:
    assert sign_pairs("sorted_key_inside_md5", VECTOR, "testkey") == SIGNED
    # Order and blanks around a value make no difference, the key itself and every value do.
    assert sign_pairs("sorted_key_inside_md5", dict(reversed(VECTOR.items())), "testkey") == SIGNED
    assert sign_pairs("sorted_key_inside_md5", VECTOR | {"offset": " 0 "}, "testkey") == SIGNED
    assert sign_pairs("sorted_key_inside_md5", VECTOR | {"offset": "1"}, "testkey") != SIGNED
    assert sign_pairs("sorted_key_inside_md5", VECTOR, "testkez") != SIGNED


@pytest.mark.parametrize("digest", ["md5", "sha256"])
def test_every_request_is_signed_and_the_key_is_not_sent(serve: Serve, digest: str) -> None:
    posted: list[dict[str, str]] = []

    def answer(exchange: Any) -> None:
        if exchange.method == "POST":
            posted.append(body_of(exchange))
            assert exchange.headers["content-type"] == "application/json"
            return exchange.reply(200, {"access_token": "canary-access", "expires_in": 7200})
        return exchange.reply(200, listing([ORDER]))

    platform = serve(answer)
    taken, error = pages(didi(platform.url, sign_method=digest).fetch(None, None, now=NOW, window=WINDOW))
    assert error is None
    assert len(taken) == 1
    assert [one.path.partition("?")[0] for one in platform.asked] == ["/river/Auth/authorize", "/river/Order/get"]
    assert posted[0] == {
        "client_id": "c1", "client_secret": "canary-client-secret", "grant_type": "client_credentials",
        "timestamp": str(int(NOW.timestamp())), "sign": didi_sign(posted[0], digest),
    }  # fmt: skip
    asked = gets(platform)[0]
    assert asked == {
        "client_id": "c1", "access_token": "canary-access", "timestamp": str(int(NOW.timestamp())), "company_id": "9",
        "start_date": "2026-10-06", "end_date": "2026-10-06", "offset": "0", "length": "10",
        "sign": didi_sign(asked, digest),
    }  # fmt: skip


def test_the_administrators_phone_is_sent_where_the_contract_asks_for_it(serve: Serve) -> None:
    posted: list[dict[str, str]] = []

    def answer(exchange: Any) -> None:
        posted.append(body_of(exchange))
        exchange.reply(500, {})

    platform = serve(answer)
    pages(didi(platform.url, phone="11000000000").fetch(None, None, now=NOW))
    assert posted[0]["phone"] == "11000000000"
    assert posted[0]["sign"] == didi_sign(posted[0])


def test_offsets_are_multiples_of_the_length_and_the_total_says_how_many_pages(serve: Serve) -> None:
    def listed(exchange: Any, query: dict[str, str]) -> None:
        offset, length = int(query["offset"]), int(query["length"])
        assert offset % length == 0
        exchange.reply(200, listing(orders(25)[offset : offset + length], 25))

    platform = serve(answering(listed))
    taken, error = pages(didi(platform.url).fetch(None, None, now=NOW, window=WINDOW))
    assert error is None
    assert [json.loads(row)["order_id"] for page in taken for row in page.delivery.rows] == [
        f"{i:04d}" for i in range(25)
    ]
    assert [query["offset"] for query in gets(platform)] == ["0", "10", "20"]
    # A run that died goes on at its page; with another length, at the multiple before it.
    for length, expected in ((10, "10"), (7, "7"), (100, "0")):
        platform.asked.clear()
        source = didi(platform.url, length=length).fetch(None, Cursor(taken[0].cursor), now=NOW, window=WINDOW)
        assert pages(source)[1] is None
        assert gets(platform)[0]["offset"] == expected


def test_no_window_is_longer_than_seven_days_and_none_leaves_a_day_out(serve: Serve) -> None:
    platform = serve(answer_didi)
    assert pages(didi(platform.url, first_days=20).fetch(None, None, now=NOW))[1] is None
    windows = [(date.fromisoformat(q["start_date"]), date.fromisoformat(q["end_date"])) for q in gets(platform)]
    assert all(0 <= (end - start).days <= 6 for start, end in windows)
    assert all(after[0] <= before[1] + timedelta(days=1) for before, after in itertools.pairwise(windows))
    assert (windows[0][0], windows[-1][1]) == (date(2026, 9, 16), date(2026, 10, 6))


def test_days_are_those_of_china(serve: Serve) -> None:
    platform = serve(answer_didi)
    evening = datetime(2026, 10, 5, 16, 30, tzinfo=UTC)  # half past midnight of the sixth in Beijing
    window = Window(since=evening - timedelta(minutes=40))
    assert pages(didi(platform.url).fetch(None, None, now=evening, window=window))[1] is None
    assert (gets(platform)[0]["start_date"], gets(platform)[0]["end_date"]) == ("2026-10-05", "2026-10-06")


def test_seven_days_are_read_again_because_orders_are_told_again(serve: Serve) -> None:
    platform = serve(answer_didi)
    taken, _ = pages(didi(platform.url).fetch(None, None, now=NOW))
    platform.asked.clear()
    assert pages(didi(platform.url).fetch(None, taken[-1].cursor, now=NOW + timedelta(minutes=15)))[1] is None
    assert gets(platform)[0]["start_date"] == "2026-09-29"
    described = didi(platform.url).describe()
    assert (described.correction_mode, described.overlap) == ("replace", timedelta(days=7))


@pytest.mark.parametrize("refusal", ["http", "errno"])
def test_a_refused_token_is_renewed_once(serve: Serve, refusal: str) -> None:
    tokens: list[str] = []

    def listed(exchange: Any, query: dict[str, str]) -> None:
        if query["access_token"] != "canary-access-1":
            return exchange.reply(401, {}) if refusal == "http" else exchange.reply(200, {"errno": 401, "errmsg": "x"})
        return exchange.reply(200, listing([ORDER]))

    platform = serve(answering(listed, tokens))
    taken, error = pages(didi(platform.url).fetch(None, None, now=NOW, window=WINDOW))
    assert error is None
    assert len(taken) == 1
    assert len(tokens) == 2


def test_a_token_that_is_refused_again_stops(serve: Serve) -> None:
    tokens: list[str] = []
    platform = serve(answering(lambda exchange, query: exchange.reply(200, {"errno": 401}), tokens))
    taken, error = pages(didi(platform.url).fetch(None, None, now=NOW, window=WINDOW))
    assert (taken, type(error), error.reason) == ([], Stop, "credentials_refused")
    assert len(tokens) == 2


def test_one_token_serves_a_whole_run(serve: Serve) -> None:
    tokens: list[str] = []
    platform = serve(answering(lambda exchange, query: exchange.reply(200, listing([])), tokens))
    assert pages(didi(platform.url, first_days=60).fetch(None, None, now=NOW))[1] is None
    assert len(tokens) == 1


@pytest.mark.parametrize("where", ["token", "list"])
@pytest.mark.parametrize(
    ("errno", "expected", "reason"),
    [
        (400, Stop, "credentials_refused"), (402, Stop, "credentials_refused"), (403, Stop, "credentials_refused"),
        (10002, Stop, "credentials_refused"), (429, RetryLater, "platform_busy"), (500, RetryLater, "platform_busy"),
        (408, SetAside, "platform_error"), (77777, SetAside, "platform_error"), ("0", SetAside, "page_errno"),
        (-1, SetAside, "page_errno"), (True, SetAside, "page_errno"), ([], SetAside, "page_errno"),
    ],
)  # fmt: skip
def test_an_error_number_ends_by_what_to_do_about_it(
    serve: Serve, where: str, errno: Any, expected: type, reason: str
) -> None:
    def answer(exchange: Any) -> None:
        if exchange.method == "POST" and where == "list":
            return answer_didi(exchange)
        return exchange.reply(200, {"errno": errno, "errmsg": "canary", "access_token": "t", "data": {}})

    platform = serve(answer)
    taken, error = pages(didi(platform.url).fetch(None, None, now=NOW, window=WINDOW))
    assert (taken, type(error), error.reason) == ([], expected, reason)


@pytest.mark.parametrize("token", [None, 7, "", "a b", "a\nb", "t" * 2049, "口令"])
def test_a_token_that_cannot_be_one_is_not_used(serve: Serve, token: Any) -> None:
    platform = serve(lambda exchange: exchange.reply(200, {"access_token": token, "expires_in": 1}))
    taken, error = pages(didi(platform.url).fetch(None, None, now=NOW, window=WINDOW))
    assert (taken, type(error), error.reason) == ([], SetAside, "token_unreadable")
    assert gets(platform) == []


def test_a_page_that_is_repeated_for_ever_is_left(serve: Serve) -> None:
    platform = serve(answering(lambda exchange, query: exchange.reply(200, listing([ORDER], 10**9))))
    _, error = pages(didi(platform.url).fetch(None, None, now=NOW, window=WINDOW))
    assert (type(error), error.reason) == (SetAside, "repeated_pages")


def test_many_more_orders_than_asked_for_are_for_a_person_to_look_at(serve: Serve) -> None:
    platform = serve(answering(lambda exchange, query: exchange.reply(200, listing([{"order_id": "1"}] * 1001))))
    _, error = pages(didi(platform.url).fetch(None, None, now=NOW, window=WINDOW))
    assert (type(error), error.reason) == (SetAside, "page_too_many_records")


def test_the_config_speaks_of_its_fields() -> None:
    secrets = {"client_secret": "canary-1", "sign_key": "canary-2"}
    assert "canary" not in repr(parse_config({"client_id": "c", "company_id": "9", "phone": "canary"}, secrets))
    for field, value in (("sign_method", "sha1"), ("length", 101), ("base_url", "https://e.cn?a=1")):
        with pytest.raises(ValueError, match=f"'{field}'"):
            parse_config({"client_id": "c", "company_id": "9", field: value}, secrets)
