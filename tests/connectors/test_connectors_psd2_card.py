"""NextGenPSD2 card transactions: consent, booked and pending, both signs, the next page, and the bank's refusals."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from tests_support.link_pulls import ACCESS, NOW, TRANSACTION, answer_psd2, card_page, psd2, query_of
from tests_support.pulling import pages

from connectors.base import ConnectorError, LinkAccess, Reauthorise, RetryLater, SetAside, Stop, Window
from connectors.config import ConfigError
from connectors.formats.psd2_card import parse_config

SHORT = Window(since=NOW - timedelta(days=3))
PATH = "/psd2/v1/card-accounts/acc-000123/transactions"


def access(account: str = "acc-000123", token: str = "canary-token") -> LinkAccess:
    return LinkAccess(link_id="7", account=account, access_token=token)


def jwt(**claims: object) -> str:
    parts = ({"alg": "ES256", "typ": "at+jwt"}, claims)
    written = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*written, "c2ln"])


def read(platform: Any, link: LinkAccess = ACCESS, **settings: object) -> tuple[list[Any], Any]:
    return pages(psd2(platform.url, **settings).fetch(link, None, now=NOW, window=SHORT))


def rows(taken: list[Any]) -> list[dict[str, Any]]:
    return [json.loads(row) for page in taken for row in page.delivery.rows]


def test_dates_are_the_banks_and_each_call_names_consent_and_itself(serve: Callable) -> None:
    platform = serve(answer_psd2)
    window = Window(since=datetime(2026, 10, 4, 17, 0, tzinfo=UTC), until=datetime(2026, 10, 5, 15, 59, tzinfo=UTC))
    taken, error = pages(psd2(platform.url).fetch(ACCESS, None, now=NOW, window=window))
    assert error is None
    ask = platform.asked[0]
    # From 01:00 to 23:59 on the 5th in China: one day, and dateTo is included.
    assert query_of(ask.path) == {"dateFrom": "2026-10-05", "dateTo": "2026-10-05", "bookingStatus": "both"}
    assert ask.path.partition("?")[0] == PATH
    assert ask.headers["consent-id"] == "acc-000123"
    assert ask.headers["authorization"] == "Bearer canary-token"
    assert "psu-ip-address" not in ask.headers  # nobody is at the screen
    assert str(UUID(ask.headers["x-request-id"])) == taken[0].delivery.delivery_id


def test_a_transaction_goes_on_as_written_with_the_list_it_stood_in_and_the_side_of_its_money(serve: Callable) -> None:
    body = (
        b'{"cardTransactions":{"booked":[ {"cardTransactionId" : "1","transactionAmount":{"amount":"4.00"}},'
        b'{"transactionAmount":{"amount":"-4.00"}} ],"pending":[{"transactionAmount":{"amount":"0.00"}}],"_links":{}}}'
    )
    platform = serve(lambda ask: ask.reply_bytes(200, body))
    taken, error = read(platform)
    assert error is None
    assert taken[0].delivery.rows == (
        b'{"status":"booked","side":"debit","transaction":{"cardTransactionId" : "1","transactionAmount":{"amount":"4.00"}}}',
        b'{"status":"booked","side":"credit","transaction":{"transactionAmount":{"amount":"-4.00"}}}',
        b'{"status":"pending","side":"zero","transaction":{"transactionAmount":{"amount":"0.00"}}}',
    )
    taken, _ = read(platform, purchase_sign="minus")
    assert [row["side"] for row in rows(taken)] == ["credit", "debit", "zero"]


@pytest.mark.parametrize(
    "amount",
    [None, "4.00", {}, {"amount": 4}, {"amount": "4,00"}, {"amount": "+4"}, {"amount": "NaN"}, {"amount": "-"}, []],
)
def test_money_that_cannot_be_read_has_no_side(serve: Callable, amount: object) -> None:
    taken, _ = read(serve(lambda ask: ask.reply(200, card_page([TRANSACTION | {"transactionAmount": amount}]))))
    assert rows(taken)[0]["side"] == "unknown"


def test_a_bad_transaction_spoils_no_other_and_keeps_its_place(serve: Callable) -> None:
    body = b'{"cardTransactions":{"booked":[7,{"a":1}],"pending":[{"b":1},{"c":1e999}]}}'
    taken, error = read(serve(lambda ask: ask.reply_bytes(200, body)))
    assert error is None
    assert [row["transaction"] for row in rows(taken)] == [{"a": 1}, {"b": 1}]
    told = [(bad.position, bad.reason) for bad in taken[0].delivery.unreadable]
    assert told == [(0, "not_an_object"), (3, "number_too_large")]


@pytest.mark.parametrize("place", ["report", "answer"])
@pytest.mark.parametrize("whole", [True, False])
def test_the_next_page_is_followed_and_a_run_goes_on_where_it_stopped(serve: Callable, place: str, whole: bool) -> None:
    def answer(exchange: Any) -> None:
        page = int(query_of(exchange.path).get("pageIndex", "0"))
        if page == 1 and len(platform.asked) == 2:
            return exchange.reply(500, {})
        following = f"{platform.url if whole else ''}{PATH}?pageIndex={page + 1}&q=%7Bx%7D" if page < 2 else None
        document = card_page([TRANSACTION | {"cardTransactionId": f"C{page}"}], following=following)
        if place == "answer":
            document["_links"] = document["cardTransactions"].pop("_links")
        return exchange.reply(200, document)

    platform = serve(answer)
    taken, error = read(platform)
    assert isinstance(error, RetryLater)
    more, error = pages(psd2(platform.url).fetch(ACCESS, taken[-1].cursor, now=NOW, window=SHORT))
    assert error is None
    assert [row["transaction"]["cardTransactionId"] for row in rows(taken + more)] == ["C0", "C1", "C2"]
    assert platform.asked[-1].path == f"{PATH}?pageIndex=2&q=%7Bx%7D"


@pytest.mark.parametrize(
    "href",
    [
        "https://evil.example/psd2/v1/card-accounts/acc-000123/transactions?pageIndex=1", "//evil.example/x",
        "http://127.0.0.1:1" + PATH, "/psd2/v1/card-accounts/acc-000999/transactions?pageIndex=1", "/psd2/v1/consents",
        PATH + "-of-others?pageIndex=1", PATH + "/../../acc-000999/transactions", PATH + "/%2e%2e/x", PATH + "#x", "",
        "x" * 3000, PATH + "?a=b c", PATH + "?a=长", "http://[", "javascript:alert(1)", 7, None, {"href": 1},
    ],
)  # fmt: skip
def test_a_next_page_elsewhere_is_never_called(serve: Callable, href: object) -> None:
    document = card_page([TRANSACTION])
    document["cardTransactions"]["_links"]["next"] = {"href": href}
    platform = serve(lambda ask: ask.reply(200, document))
    taken, error = read(platform)
    assert (taken, type(error), len(platform.asked)) == ([], SetAside, 1)
    assert str(error) == "page_next_link"


def test_a_cursor_that_was_meddled_with_leads_nowhere_else(serve: Callable) -> None:
    platform = serve(lambda ask: ask.reply(200, card_page([TRANSACTION], following=f"{PATH}?pageIndex=1")))
    first = next(iter(psd2(platform.url).fetch(ACCESS, None, now=NOW, window=SHORT)))
    meddled = type(first.cursor)({**first.cursor, "page": "/psd2/v1/consents"})
    _, error = pages(psd2(platform.url).fetch(ACCESS, meddled, now=NOW, window=SHORT))
    assert (str(error), len(platform.asked)) == ("page_next_link", 1)


def test_two_ways_on_and_a_page_that_leads_to_itself_end_the_reading(serve: Callable) -> None:
    two = card_page([TRANSACTION], following=f"{PATH}?pageIndex=1")
    two["_links"] = {"next": {"href": f"{PATH}?pageIndex=2"}}
    _, error = read(serve(lambda ask: ask.reply(200, two)))
    assert str(error) == "page_next_link"
    circle = serve(lambda ask: ask.reply(200, card_page([TRANSACTION], following=f"{PATH}?pageIndex=1")))
    taken, error = read(circle)
    assert (type(error), error.reason, len(taken)) == (SetAside, "cursor_loop", 2)


@pytest.mark.parametrize(
    ("status", "code", "expected", "reason"),
    [
        (401, "CONSENT_EXPIRED", Reauthorise, "consent_expired"),
        (403, "CONSENT_EXPIRED", Reauthorise, "consent_expired"),
        (401, "CONSENT_INVALID", Reauthorise, "consent_refused"),
        (403, "CONSENT_UNKNOWN", Reauthorise, "consent_refused"),
        (400, "CONSENT_UNKNOWN", Reauthorise, "consent_refused"),
        (401, "TOKEN_EXPIRED", Reauthorise, "token_refused"),
        (401, None, Reauthorise, "token_refused"),
        (401, "CERTIFICATE_EXPIRED", Stop, "credentials_refused"),
        (403, "SERVICE_BLOCKED", SetAside, "answered_403"),
        (400, "PERIOD_INVALID", SetAside, "answered_400"),
        (404, "RESOURCE_UNKNOWN", SetAside, "answered_404"),
        (429, None, RetryLater, "answered_429"),
        (429, "ACCESS_EXCEEDED", RetryLater, "access_exceeded"),
        (500, "INTERNAL_SERVER_ERROR", RetryLater, "answered_500"),
    ],
)
def test_each_refusal_is_named_by_its_recovery(
    serve: Callable, status: int, code: str | None, expected: type[ConnectorError], reason: str
) -> None:
    messages = [{"category": "ERROR", "code": code, "text": "canary"}] if code else []
    taken, error = read(serve(lambda ask: ask.reply(status, {"tppMessages": messages})))
    assert (taken, type(error), error.reason) == ([], expected, reason)
    assert "canary" not in str(error)


def test_four_reads_a_day_are_waited_for_by_hours(serve: Callable) -> None:
    document = {"tppMessages": [{"category": "ERROR", "code": "ACCESS_EXCEEDED"}]}
    _, error = read(serve(lambda ask: ask.reply(429, document, {"retry-after": "5"})))
    assert isinstance(error, RetryLater)
    assert error.after_s == 6 * 3600


@pytest.mark.parametrize("messages", [7, [7], [{"code": 7}], [{}], {"code": "CONSENT_EXPIRED"}, [{"code": "x" * 5000}]])
def test_messages_of_another_shape_say_nothing(serve: Callable, messages: object) -> None:
    _, error = read(serve(lambda ask: ask.reply(403, {"tppMessages": messages})))
    assert str(error) == "answered_403"


@pytest.mark.parametrize(
    ("settings", "link", "consent", "path"),
    [
        ({}, access("c-1/acc-9"), "c-1", "/psd2/v1/card-accounts/acc-9/transactions"),
        ({}, access("acc-9"), "acc-9", "/psd2/v1/card-accounts/acc-9/transactions"),
        ({}, access("c/a/../b?x"), "c", "/psd2/v1/card-accounts/a%2F..%2Fb%3Fx/transactions"),
        ({"consent_from": "token"}, access(token=jwt(consent_id="c-2")), "c-2", PATH),
        ({"consent_from": "token", "consent_claim": "cid"}, access(token=jwt(cid="c-3")), "c-3", PATH),
    ],
)
def test_the_consent_is_told_by_the_account_or_by_the_token(
    serve: Callable, settings: dict[str, object], link: LinkAccess, consent: str, path: str
) -> None:
    platform = serve(answer_psd2)
    _, error = read(platform, link, **settings)
    assert error is None
    assert platform.asked[0].headers["consent-id"] == consent
    assert platform.asked[0].path.partition("?")[0] == path


@pytest.mark.parametrize(
    "link",
    [
        access(), access(token="a.b.c"), access(token="a.!.c"), access(token=jwt(other="c")), access(token=jwt(consent_id=7)),
        access(token=jwt(consent_id="a b")), access(token=jwt(consent_id="")), access(token=jwt(consent_id="x" * 200)),
        access(token=jwt(consent_id="c\r\nx-evil: 1")), access("..", jwt(consent_id="c")), access("", jwt(consent_id="c")),
        access("长", jwt(consent_id="c")), access(token="x." + "e" * 30_000 + ".y"),
    ],
)  # fmt: skip
def test_a_consent_that_nobody_tells_is_asked_for_again(serve: Callable, link: LinkAccess) -> None:
    platform = serve(answer_psd2)
    _, error = read(platform, link, consent_from="token")
    assert (type(error), error.reason, platform.asked) == (Reauthorise, "consent_not_told", [])


@pytest.mark.parametrize("status", [204, 401, 403, 404])
def test_revoking_terminates_the_consent_or_finds_it_gone(serve: Callable, status: int) -> None:
    platform = serve(lambda ask: ask.reply_bytes(status, b""))
    psd2(platform.url).revoke(access("c 1".replace(" ", "%") + "/acc-9"), now=NOW)
    assert [(ask.method, ask.path) for ask in platform.asked] == [("DELETE", "/psd2/v1/consents/c%251")]
    assert platform.asked[0].headers["consent-id"] == "c%1"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_consent_that_could_not_be_terminated_is_told_again(serve: Callable, status: int) -> None:
    platform = serve(lambda ask: ask.reply(status, {}))
    with pytest.raises(RetryLater):
        psd2(platform.url).revoke(ACCESS, now=NOW)
    with pytest.raises(RetryLater):
        psd2("http://127.0.0.1:9").revoke(ACCESS, now=NOW)
    psd2(platform.url, consent_from="token").revoke(ACCESS, now=NOW)  # names no consent: nothing to end


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"consent_from": "hearsay"}, "consent_from"),
        ({"purchase_sign": "both"}, "purchase_sign"),
        ({"zone": "Mars/Olympus"}, "zone"),
        ({"zone": "../../etc/passwd"}, "zone"),
        ({"base_url": "https://bank.example/?x"}, "base_url"),
        ({"span_days": 0}, "span_days"),
    ],
)
def test_a_wrong_setting_is_named(change: dict[str, object], field: str) -> None:
    with pytest.raises(ConfigError, match=field):
        parse_config({"base_url": "https://bank.example"} | change, {})
