"""Cursor pull over real HTTP: what is read, with which token, and by which settings and names."""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests_support.pulling import ACCESS, NOW, ROWS, asked, honest, ids, pages, puller

from connectors.base import Cursor, LinkAccess, Reauthorise, Stop
from connectors.config import ConfigError
from connectors.profiles.cursor_pull import parse_config


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
