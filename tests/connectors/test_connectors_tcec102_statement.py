"""`check_charge_orders`: a day as the operator remembers it, and what the hub disputes."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from connectors.base import Inbound, Reply
from connectors.formats.tcec102 import EnvelopeKeys, Ret, TCec102, open_reply, parse_config, seal_envelope
from connectors.statements import Dispute, Statement, StatementReceiver, find_disputes, find_untold

KEYS = EnvelopeKeys(data_secret=b"1234567890abcdef", data_secret_iv=b"1234567890abcdef", sig_secret=b"1234567890abcdef")
SECRETS = {
    "operator_secret": "the-operator-secret",
    "data_secret": "1234567890abcdef",
    "data_secret_iv": "1234567890abcdef",
    "sig_secret": "1234567890abcdef",
    "token_key": "a key of the hub alone, 32 characters or more",
}
NOW = datetime(2018, 8, 23, 0, 0, tzinfo=UTC)
BASE = "/in/kuaidian/evcs/v20161110/"
FIRST, SECOND, THIRD = (f"740415113201808220000{number:06d}" for number in (115, 116, 117))
# The form of a real day's list; the numbers of its lines are made up but for the last one.
DAY = (
    '{"ChargeOrders":['
    f'{{"StartChargeSeq":"{FIRST}","TotalMoney":12.00,"TotalPower":6.00}},'
    f'{{"StartChargeSeq":"{SECOND}","TotalMoney":0,"TotalPower":0.0}},'
    f'{{"StartChargeSeq":"{THIRD}","TotalMoney":3.00,"TotalPower":1.90}}'
    '],"CheckOrderSeq":"740415113000000000020180822","EndTime":"2018-08-22 23:59:59","OrderCount":3,'
    '"StartTime":"2018-08-22 00:00:00","TotalOrderMoney":15.00,"TotalOrderPower":7.90}'
)
TAKEN = {FIRST: 6_000_000, SECOND: 0, THIRD: 1_900_000}


def receiver(**config: object) -> TCec102:
    return TCec102(parse_config({"operator_id": "123456789"} | config, SECRETS))


def sealed(text: bytes, camel: bool = False) -> bytes:
    return seal_envelope(KEYS, operator_id="123456789", text=text, sent_at=NOW, seq=1, camel_case=camel)


def token_of(hub: TCec102) -> str:
    asked = b'{"OperatorID":"123456789","OperatorSecret":"the-operator-secret"}'
    answer = hub.receive(Inbound(method="POST", path=BASE + "query_token", body=sealed(asked)), now=NOW)
    assert isinstance(answer, Reply)
    told = {name.lower(): value for name, value in json.loads(open_reply(KEYS, answer.body).text).items()}
    return str(told["accesstoken"])


def asked(text: str = DAY, *, camel: bool = False, hub: TCec102 | None = None, token: str | None = None) -> Inbound:
    bearer = token_of(hub or receiver()) if token is None else token
    headers = {"authorization": f"Bearer {bearer}"}
    return Inbound(method="POST", path=BASE + "check_charge_orders", headers=headers, body=sealed(text.encode(), camel))


def read(text: str = DAY) -> Statement:
    statement = receiver().receive_statement(asked(text), now=NOW)
    assert isinstance(statement, Statement)
    return statement


def refused(request: Inbound) -> int:
    answer = receiver().receive_statement(request, now=NOW)
    assert isinstance(answer, Reply)
    opened = open_reply(KEYS, answer.body)
    assert opened.text == b""
    return opened.ret


def answer_of(disputes: tuple[Dispute, ...], hub: TCec102 | None = None) -> dict[str, Any]:
    reply = (hub or receiver()).answer_statement(read(), disputes)
    opened = open_reply(KEYS, reply.body)
    assert (reply.status, opened.ret) == (200, Ret.OK)
    told: dict[str, Any] = json.loads(opened.text)
    return told


def test_a_statement_is_told_by_its_address_alone() -> None:
    hub = receiver()
    assert isinstance(hub, StatementReceiver)
    assert hub.is_statement(asked())
    for path in ("notification_charge_order_info", "query_token", "check_charge_orders/x", "../check_charge_orders"):
        assert not hub.is_statement(Inbound(method="POST", path=BASE + path)), path
    assert not hub.is_statement(Inbound(method="POST", path="/in/kuaidian/evcs/v1/check_charge_orders"))


def test_a_day_is_read_with_its_lines_as_they_were_written() -> None:
    statement = read()
    assert (statement.statement_id, statement.stream) == ("740415113000000000020180822", "charge_orders")
    assert (statement.since, statement.until) == (
        datetime(2018, 8, 21, 16, tzinfo=UTC), datetime(2018, 8, 22, 16, tzinfo=UTC)
    )  # fmt: skip
    assert {line.source_id: line.quantity_micro for line in statement.lines} == TAKEN
    assert statement.lines[2].row == f'{{"StartChargeSeq":"{THIRD}","TotalMoney":3.00,"TotalPower":1.90}}'.encode()
    assert statement.digest == hashlib.sha256(DAY.encode()).digest()


def test_the_spelling_of_2021_is_read_and_answered() -> None:
    text = DAY
    for name in ("ChargeOrders", "StartChargeSeq", "TotalPower", "CheckOrderSeq", "EndTime", "OrderCount", "StartTime"):
        text = text.replace(f'"{name}"', f'"{name[0].lower()}{name[1:]}"')
    hub = receiver(camel_case=True)
    statement = hub.receive_statement(asked(text, camel=True, hub=hub), now=NOW)
    assert isinstance(statement, Statement)
    assert {line.source_id: line.quantity_micro for line in statement.lines} == TAKEN
    told = json.loads(open_reply(KEYS, hub.answer_statement(statement, ()).body).text)
    assert (told["checkOrderSeq"], told["totalDisputeOrder"]) == ("740415113000000000020180822", 0)


def test_a_day_on_which_both_agree_has_no_disputes() -> None:
    assert find_disputes(read(), TAKEN) == ()
    assert answer_of(()) == {
        "CheckOrderSeq": "740415113000000000020180822", "StartTime": "2018-08-22 00:00:00",
        "EndTime": "2018-08-22 23:59:59", "TotalDisputeOrder": 0, "TotalDisputePower": 0.0, "TotalDisputeMoney": 0.0,
        "DisputeOrders": [],
    }  # fmt: skip


def test_orders_that_the_hub_lacks_or_has_otherwise_are_disputed() -> None:
    disputes = find_disputes(read(), {FIRST: 6_000_001, SECOND: 0})
    assert [(dispute.line.source_id, dispute.why) for dispute in disputes] == [(FIRST, "quantity"), (THIRD, "unknown")]
    told = answer_of(disputes)
    assert (told["TotalDisputeOrder"], told["TotalDisputePower"], told["TotalDisputeMoney"]) == (2, 7.9, 15.0)
    assert told["DisputeOrders"] == [
        {"StartChargeSeq": FIRST, "TotalPower": 6.0, "TotalMoney": 12.0, "DisputeReason": 3},
        {"StartChargeSeq": THIRD, "TotalPower": 1.9, "TotalMoney": 3.0, "DisputeReason": 1},
    ]


def test_orders_that_the_operator_does_not_name_are_found_too() -> None:
    assert find_untold(read(), TAKEN) == ()
    assert find_untold(read(), TAKEN | {"B": 1, "A": 2}) == ("A", "B")


def test_a_zero_energy_order_is_part_of_the_day() -> None:
    assert find_disputes(read(), TAKEN | {SECOND: 1})[0].line.source_id == SECOND


def test_an_empty_day_is_a_statement() -> None:
    empty = read(
        '{"CheckOrderSeq":"1","StartTime":"2018-08-22 00:00:00","EndTime":"2018-08-22 23:59:59","OrderCount":0,'
        '"TotalOrderPower":0,"TotalOrderMoney":0,"ChargeOrders":[]}'
    )
    assert empty.lines == ()


@pytest.mark.parametrize(
    "text",
    [
        DAY.replace('"OrderCount":3', '"OrderCount":2'),
        DAY.replace('"OrderCount":3', '"OrderCount":"3"'),
        DAY.replace('"OrderCount":3,', ""),
        DAY.replace('"OrderCount":3', '"OrderCount":true'),
        DAY.replace('"TotalOrderPower":7.90', '"TotalOrderPower":7.91'),
        DAY.replace('"TotalOrderPower":7.90', '"TotalOrderPower":7.9e0'),
        DAY.replace('"TotalOrderPower":7.90', '"TotalOrderPower":-7.90'),
        DAY.replace('"TotalOrderPower":7.90', '"TotalOrderPower":null'),
        DAY.replace('"TotalOrderPower":7.90', '"TotalOrderPower":{"a":7.90}'),
        DAY.replace('"TotalPower":1.90', '"TotalPower":1.90,"totalPower":1.90'),
        DAY.replace('"TotalPower":1.90', '"TotalPower":1.90,"TotalPower":1.90'),
        DAY.replace('"TotalPower":1.90', '"TotalPower":NaN'),
        DAY.replace('"TotalPower":1.90', '"Power":1.90'),
        DAY.replace('"TotalPower":1.90', '"TotalPower":"' + "9" * 5000 + '"'),
        DAY.replace(THIRD, SECOND),
        DAY.replace(THIRD, "a b"),
        DAY.replace(THIRD, ""),
        DAY.replace(f'"{THIRD}"', "7"),
        DAY.replace("740415113000000000020180822", ""),
        DAY.replace("740415113000000000020180822", "a\\u0000b"),
        DAY.replace("2018-08-22 23:59:59", "2018-08-21 23:59:59"),
        DAY.replace("2018-08-22 23:59:59", "2018-08-22T23:59:59Z"),
        DAY.replace("2018-08-22 23:59:59", "2018-13-41 23:59:59"),
        DAY.replace('"ChargeOrders":[', '"Orders":['),
        DAY[:-1] + ',"chargeOrders":[]}',
        DAY.replace('"ChargeOrders":[', '"ChargeOrders":[7,'),
        DAY[:-1],
        "[]",
        "",
    ],
)
def test_a_list_that_is_none_or_contradicts_itself_is_answered_4004(text: str) -> None:
    assert refused(asked(text)) == Ret.BUSINESS


def test_a_statement_needs_the_operators_token_and_keys() -> None:
    assert refused(asked(token="1.x")) == Ret.TOKEN
    assert refused(asked(token="")) == Ret.TOKEN
    good = asked()
    forged = Inbound(method="POST", path=good.path, headers=good.headers, body=good.body.replace(b'"0001"', b'"0002"'))
    assert refused(forged) == Ret.SIGNATURE
    late = receiver().receive_statement(good, now=datetime(2018, 8, 23, 1, tzinfo=UTC))
    assert isinstance(late, Reply)
    assert open_reply(KEYS, late.body).ret == Ret.ENVELOPE
    got = receiver().receive_statement(Inbound(method="GET", path=good.path), now=NOW)
    assert isinstance(got, Reply)
    assert got.status == 405


def test_a_statement_is_no_delivery() -> None:
    answer = receiver().receive(asked(), now=NOW)
    assert isinstance(answer, Reply)
    assert answer.status == 404


def test_the_same_list_again_is_the_same_statement() -> None:
    assert read() == read()
    assert read(DAY.replace("12.00", "13.00")).digest != read().digest
