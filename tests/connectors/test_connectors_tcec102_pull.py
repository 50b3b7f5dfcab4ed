"""T/CEC 102 asked for: a charging operator over real HTTP, well behaved and otherwise."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests_support.golden import at

from connectors.base import ConnectorError, Cursor, Page, RetryLater, SetAside, Stop, Window
from connectors.config import ConfigError
from connectors.formats.aes_cbc import encrypt
from connectors.formats.tcec102_pull import TCec102Pull, parse_config
from connectors.formats.tcec_envelope import EnvelopeKeys, Opened, Ret, open_envelope, sign

KEYS = EnvelopeKeys(data_secret=b"1234567890abcdef", data_secret_iv=b"1234567890abcdef", sig_secret=b"1234567890abcdef")
SECRETS = {
    "operator_secret": "the-operator-secret",
    "data_secret": "1234567890abcdef",
    "data_secret_iv": "1234567890abcdef",
    "sig_secret": "1234567890abcdef",
}
NOW = datetime(2026, 10, 6, 1, 0, tzinfo=UTC)
SINCE = Window(since=NOW - timedelta(hours=6))

# The public order of T/CEC 102, and the second public shape: 96 seconds and no energy.
ORDER = (
    b'{"StartChargeSeq":"123456789665000001176708522","ConnectorID":"1","StartTime":"2019-04-18 11:29:29",'
    b'"EndTime":"2019-04-18 11:39:30","TotalPower":6.00,"TotalElecMoney":6.00,"TotalSeviceMoney":6.00,'
    b'"TotalMoney":12.00,"StopReason":2,"SumPeriod":0,"ChargeDetails":[]}'
)
ZERO = b'{"StartChargeSeq":"123456789665000001176708523","TotalPower":0.0,"SumPeriod":1,"ChargeDetails":[{"DetailPower":0.0}]}'


def sealed(ret: int, text: bytes = b"", *, camel: bool = False, keys: EnvelopeKeys = KEYS, message: str = "") -> bytes:
    data = base64.b64encode(encrypt(text, key=KEYS.data_secret, iv=KEYS.data_secret_iv)).decode() if text else ""
    told: dict[str, Any] = {
        "Ret": ret,
        "Msg": message,
        "Data": data,
        "Sig": sign(keys.sig_secret, str(ret), message, data),
    }
    return json.dumps({name[0].lower() + name[1:]: value for name, value in told.items()} if camel else told).encode()


def page_of(*orders: bytes, number: int = 1, count: int = 1, name: str = "ChargeOrders") -> bytes:
    numbers = f'"PageNo":{number},"PageCount":{count},"ItemSize":{len(orders)}'
    return f'{{{numbers},"{name}":['.encode() + b",".join(orders) + b"]}"


@dataclass
class Peer:
    """A charging operator: gives tokens, answers with `pages` by number, and with `wrong` first, as long as there is any."""

    pages: list[bytes] = field(default_factory=lambda: [page_of(ORDER)])
    wrong: list[tuple[int, bytes]] = field(default_factory=list)
    token_reply: bytes | None = None
    camel: bool = False
    tokens: int = 0
    asked: list[Opened] = field(default_factory=list)
    written: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, exchange: Any) -> None:
        body = exchange.handler.rfile.read(int(exchange.headers["content-length"]))
        opened = open_envelope(KEYS, body)
        self.written.append(json.loads(body))
        if exchange.path.endswith("/query_token"):
            exchange.reply_bytes(200, self._token(opened))
            return
        self.asked.append(opened)
        if self.wrong:
            exchange.reply_bytes(*self.wrong.pop(0))
        elif exchange.headers.get("authorization") != f"Bearer token-{self.tokens}":
            exchange.reply_bytes(200, sealed(Ret.TOKEN, camel=self.camel))
        else:
            asked = {name.lower(): value for name, value in json.loads(opened.text).items()}
            exchange.reply_bytes(200, sealed(Ret.OK, self.pages[asked["pageno"] - 1], camel=self.camel))

    def _token(self, opened: Opened) -> bytes:
        asked = {name.lower(): value for name, value in json.loads(opened.text).items()}
        assert asked == {"operatorid": "MA5HUB001", "operatorsecret": "the-operator-secret"}
        self.tokens += 1
        if self.token_reply is not None:
            return self.token_reply
        told = {"OperatorID": "123456789", "SuccStat": 0, "AccessToken": f"token-{self.tokens}"}
        told |= {"TokenAvailableTime": 7200, "FailReason": 0}
        return sealed(Ret.OK, json.dumps(told).encode(), camel=self.camel)


Serve = Callable[[Callable[[Any], None]], Any]


@pytest.fixture
def pull(serve: Serve) -> Callable[..., TCec102Pull]:
    def build(peer: Callable[[Any], None], **config: object) -> TCec102Pull:
        url = serve(peer).url + "/evcs/v20161110"
        known = {"base_url": url, "operator_id": "MA5HUB001", "allow_loopback": True}
        return TCec102Pull(parse_config(known | config, SECRETS))

    return build


def pages_of(connector: TCec102Pull, cursor: Cursor | None = None, now: datetime = NOW) -> list[Page]:
    return list(connector.fetch(None, cursor, now=now, window=SINCE))


def test_orders_are_handed_on_as_they_were_written(pull: Callable[..., TCec102Pull]) -> None:
    peer = Peer(pages=[page_of(ORDER, ZERO)])
    (page,) = pages_of(pull(peer))
    assert page.delivery.rows == (ORDER, ZERO)
    assert (page.delivery.stream, page.delivery.account) == ("charge_orders", None)
    assert re.fullmatch(r"MA5HUB001-20261006090000-(?!0000)[0-9]{4}", page.delivery.delivery_id)
    assert page.cursor["read_until"] == NOW.isoformat()
    assert json.loads(peer.asked[0].text) == {
        "StartTime": "2026-10-06 03:00:00", "EndTime": "2026-10-06 09:00:00", "PageNo": 1, "PageSize": 50,
    }  # fmt: skip


def test_runs_of_one_second_do_not_begin_at_one_number(pull: Callable[..., TCec102Pull]) -> None:
    """Two workers, or the two lanes: under one name the hub would refuse the second one's answer as a contradiction."""
    names = {pages_of(pull(Peer(pages=[page_of(ORDER, ZERO)])))[0].delivery.delivery_id for _ in range(12)}
    assert len(names) > 6  # twelve of 9,999 numbers: six that meet are beyond all chance


def test_a_request_is_known_on_both_sides_by_its_time_stamp_and_seq(pull: Callable[..., TCec102Pull]) -> None:
    peer = Peer(pages=[page_of(ORDER, count=2), page_of(ZERO, number=2, count=2)])
    told = [page.delivery.delivery_id for page in pages_of(pull(peer))]
    assert told == [f"{opened.operator_id}-{opened.timestamp}-{opened.seq}" for opened in peer.asked]
    assert len(set(told)) == 2


def test_the_spelling_of_2021_is_written_and_read(pull: Callable[..., TCec102Pull]) -> None:
    order = b'{"startChargeSeq":"1","totalPower":6.00}'
    text = b'{"pageNo":1,"pageCount":1,"chargeOrders":[' + order + b"]}"
    peer = Peer(pages=[text], camel=True)
    (page,) = pages_of(pull(peer, camel_case=True))
    assert page.delivery.rows == (order,)
    assert set(peer.written[-1]) == {"operatorID", "data", "timeStamp", "seq", "sig"}
    assert set(json.loads(peer.asked[0].text)) == {"startTime", "endTime", "pageNo", "pageSize"}


def test_pages_are_read_to_the_end_and_spans_are_no_longer_than_agreed(pull: Callable[..., TCec102Pull]) -> None:
    peer = Peer(pages=[page_of(ORDER, count=2), page_of(ZERO, number=2, count=2)])
    pages = pages_of(pull(peer, span_hours=3))
    assert [page.delivery.rows for page in pages] == [(ORDER,), (ZERO,), (ORDER,), (ZERO,)]
    asked = [json.loads(opened.text) for opened in peer.asked]
    assert [(one["StartTime"][11:13], one["EndTime"][11:13], one["PageNo"]) for one in asked] == [
        ("03", "06", 1), ("03", "06", 2), ("06", "09", 1), ("06", "09", 2)
    ]  # fmt: skip
    assert peer.tokens == 1


def test_a_run_that_dies_goes_on_from_each_cursor(pull: Callable[..., TCec102Pull]) -> None:
    orders = [ORDER.replace(b"8522", b"852%d" % n) for n in (1, 2, 3)]
    pages = [page_of(order, number=n, count=3) for n, order in enumerate(orders, start=1)]
    whole = pages_of(pull(Peer(pages=pages)))
    for number, page in enumerate(whole[:-1], start=1):
        peer = Peer(pages=pages)
        rest = pages_of(pull(peer), Cursor(json.loads(json.dumps(page.cursor))))
        assert [json.loads(opened.text)["PageNo"] for opened in peer.asked] == list(range(number + 1, 4))
        assert rest[-1].cursor == whole[-1].cursor


def test_the_next_run_begins_two_days_before_the_last_one_ended(pull: Callable[..., TCec102Pull]) -> None:
    (last,) = pages_of(pull(Peer()))
    peer = Peer()
    list(pull(peer, span_hours=24 * 7).fetch(None, last.cursor, now=NOW + timedelta(hours=1)))
    assert json.loads(peer.asked[0].text)["StartTime"] == "2026-10-04 09:00:00"


def test_a_token_that_is_no_longer_good_is_got_once_more(pull: Callable[..., TCec102Pull]) -> None:
    orders = [ORDER.replace(b"8522", b"852%d" % n) for n in (1, 2, 3)]
    peer = Peer(pages=[page_of(order, number=n, count=3) for n, order in enumerate(orders, start=1)])
    connector = pull(peer)
    told = connector.fetch(None, None, now=NOW, window=SINCE)
    next(told)
    peer.wrong.append((200, sealed(Ret.TOKEN)))
    next(told)
    peer.wrong.append((401, b""))
    next(told)
    assert peer.tokens == 3


@pytest.mark.parametrize("refusal", [(200, sealed(Ret.TOKEN)), (401, b"")])
def test_a_token_is_got_once_more_and_not_again(pull: Callable[..., TCec102Pull], refusal: tuple[int, bytes]) -> None:
    peer = Peer(wrong=[refusal])
    assert len(pages_of(pull(peer))) == 1
    assert peer.tokens == 2
    peer = Peer(wrong=[refusal] * 2)
    with pytest.raises(Stop, match="credentials_refused"):
        pages_of(pull(peer))
    assert peer.tokens == 2


@pytest.mark.parametrize(
    ("answer", "error", "reason"),
    [
        ((200, sealed(Ret.BUSY)), RetryLater, "peer_busy"),
        ((200, sealed(Ret.SYSTEM)), RetryLater, "peer_failed"),
        ((200, sealed(Ret.SIGNATURE)), Stop, "signature_refused"),
        ((200, sealed(Ret.ENVELOPE)), SetAside, "envelope_refused"),
        ((200, sealed(Ret.BUSINESS)), SetAside, "request_refused"),
        ((200, sealed(4711)), SetAside, "peer_unknown_ret"),
        ((429, b""), RetryLater, "answered_429"),
        ((500, b""), RetryLater, "answered_500"),
        ((404, b""), SetAside, "answered_404"),
        ((302, b""), Stop, "redirected"),
        ((200, b"\x00\xff<html>"), RetryLater, "reply_unreadable"),
        ((200, sealed(Ret.OK, page_of(ORDER))[:-9]), RetryLater, "reply_unreadable"),
        ((200, b""), RetryLater, "reply_unreadable"),
        ((200, b"[]"), SetAside, "reply_not_an_object"),
        ((200, b"{}"), SetAside, "reply_parts"),
        ((200, b'{"Ret":0,"Ret":0}'), SetAside, "reply_duplicate_key"),
        (
            (200, sealed(Ret.OK, page_of(ORDER), message="canary").replace(b"canary", b"other!")),
            SetAside,
            "reply_signature",
        ),
        (
            (
                200,
                sealed(Ret.OK, page_of(ORDER), keys=EnvelopeKeys(data_secret=b"", data_secret_iv=b"", sig_secret=b"x")),
            ),
            SetAside,
            "reply_signature",
        ),
        ((200, sealed(Ret.OK)), SetAside, "page_not_json"),
        ((200, sealed(Ret.OK, b'{"PageNo":1,"PageCount":1}')), SetAside, "page_no_records"),
        ((200, sealed(Ret.OK, b'{"ChargeOrders":[]}')), SetAside, "page_numbers"),
        ((200, sealed(Ret.OK, page_of(ORDER, number=2, count=2))), SetAside, "page_numbers"),
        ((200, sealed(Ret.OK, page_of(ORDER).replace(b'"PageCount":1', b'"PageCount":"1"'))), SetAside, "page_numbers"),
        (
            (200, sealed(Ret.OK, page_of(ORDER).replace(b'"PageCount":1', b'"PageCount":true'))),
            SetAside,
            "page_numbers",
        ),
        ((200, sealed(Ret.OK, page_of(ORDER, count=10**9))), SetAside, "page_numbers"),
        ((200, sealed(Ret.OK, page_of(ORDER)[:-1] + b',"chargeOrders":[]}')), SetAside, "page_two_spellings"),
        ((200, sealed(Ret.OK, b"[" * 9000)), SetAside, "page_not_json"),
    ],
)
def test_what_goes_wrong_is_named_by_its_recovery(
    pull: Callable[..., TCec102Pull], answer: tuple[int, bytes], error: type[ConnectorError], reason: str
) -> None:
    with pytest.raises(error) as raised:
        pages_of(pull(Peer(wrong=[answer])))
    assert raised.value.reason == reason
    assert "canary" not in str(raised.value)


@pytest.mark.parametrize(
    ("reply", "error", "reason"),
    [
        (sealed(Ret.OK, b'{"SuccStat":1,"AccessToken":"","FailReason":2}'), Stop, "credentials_refused"),
        (sealed(Ret.OK, b'{"SuccStat":true,"AccessToken":"x"}'), Stop, "credentials_refused"),
        (sealed(Ret.OK, b'{"SuccStat":0}'), SetAside, "token_reply"),
        (sealed(Ret.OK, b'{"SuccStat":0,"AccessToken":"a b"}'), SetAside, "token_reply"),
        (sealed(Ret.OK, b'{"SuccStat":0,"AccessToken":"a\\r\\nx: y"}'), SetAside, "token_reply"),
        (sealed(Ret.OK, b'{"SuccStat":0,"AccessToken":7}'), SetAside, "token_reply"),
        (sealed(Ret.OK, b"7"), SetAside, "token_reply"),
        (sealed(Ret.TOKEN), Stop, "credentials_refused"),
        (sealed(Ret.BUSY), RetryLater, "peer_busy"),
        (sealed(Ret.SIGNATURE), Stop, "signature_refused"),
    ],
)
def test_a_token_that_is_not_given_is_named_by_its_recovery(
    pull: Callable[..., TCec102Pull], reply: bytes, error: type[ConnectorError], reason: str
) -> None:
    with pytest.raises(error) as raised:
        pages_of(pull(Peer(token_reply=reply)))
    assert raised.value.reason == reason


def test_an_order_that_is_badly_written_does_not_disturb_the_others(pull: Callable[..., TCec102Pull]) -> None:
    twice = b'{"StartChargeSeq":"1","TotalPower":1,"TotalPower":99}'
    (page,) = pages_of(pull(Peer(pages=[page_of(ORDER, twice, b"7", ZERO)])))
    assert page.delivery.rows == (ORDER, ZERO)
    assert [(row.position, row.reason) for row in page.delivery.unreadable] == [
        (1, "duplicate_key"),
        (2, "not_an_object"),
    ]


def test_a_page_in_place_of_another_is_not_taken_for_it(pull: Callable[..., TCec102Pull]) -> None:
    connector = pull(Peer(pages=[page_of(ORDER, number=n, count=2) for n in (1, 2)]))
    told = connector.fetch(None, None, now=NOW, window=SINCE)
    assert next(told).delivery.rows == (ORDER,)
    with pytest.raises(SetAside, match="repeated_page"):
        next(told)


@pytest.mark.parametrize(
    "cursor",
    [
        {"cursor": "another connector's"},
        {"read_until": 7},
        {"read_until": "soon"},
        {
            "read_until": None,
            "span_start": at(2026, 10, 5).isoformat(),
            "span_end": at(2026, 10, 6).isoformat(),
            "page": "x",
        },
        {
            "read_until": None,
            "span_start": at(2026, 10, 5).isoformat(),
            "span_end": at(2026, 10, 6).isoformat(),
            "page": "0",
        },
    ],
)
def test_a_cursor_of_another_connector_is_refused(pull: Callable[..., TCec102Pull], cursor: dict[str, Any]) -> None:
    with pytest.raises(Stop, match="cursor_of_another_connector"):
        pages_of(pull(Peer()), Cursor(cursor))


def test_a_check_finds_a_peer_that_is_open_to_everybody(serve: Serve) -> None:
    def check(status: int, body: bytes) -> tuple[bool, tuple[str, ...]]:
        def answer(exchange: Any) -> None:
            exchange.handler.rfile.read(int(exchange.headers["content-length"]))
            exchange.reply_bytes(status, body)

        config = {"base_url": serve(answer).url, "operator_id": "MA5HUB001", "allow_loopback": True}
        found = TCec102Pull(parse_config(config, SECRETS)).check()
        return found.ok, found.findings

    assert check(200, sealed(Ret.ENVELOPE)) == (True, ())
    assert check(401, b"") == (True, ())
    assert check(200, sealed(Ret.OK, page_of(ORDER))) == (False, ("open_without_token",))
    assert check(200, b"hello") == (False, ("open_without_token",))


def test_a_delivery_is_known_by_the_digest_of_the_answer(pull: Callable[..., TCec102Pull]) -> None:
    (page,) = pages_of(pull(Peer()))
    assert page.delivery.digest == hashlib.sha256(sealed(Ret.OK, page_of(ORDER))).digest()


@pytest.mark.parametrize(
    ("config", "secrets"),
    [
        ({"operator_id": "short"}, {}),
        ({"interface": "../query_token"}, {}),
        ({"page_size": 101}, {}),
        ({"other": 1}, {}),
        ({}, {"sig_secret": "canary"}),
        ({}, {"surplus": "canary"}),
    ],
)
def test_wrong_settings_are_refused_without_being_told(config: dict[str, Any], secrets: dict[str, str]) -> None:
    known = {"base_url": "https://peer.example/evcs/v20161110", "operator_id": "MA5HUB001"}
    with pytest.raises(ConfigError) as refused:
        parse_config(known | config, SECRETS | secrets)
    assert "canary" not in str(refused.value)
    assert "1234567890abcdef" not in repr(parse_config(known, SECRETS))
