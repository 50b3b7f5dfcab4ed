"""T/CEC 102: the official vectors as bytes, and a charging operator that gets everything wrong."""

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta

import pytest

from connectors.base import Delivery, Inbound, Outcome, Reply
from connectors.config import ConfigError
from connectors.formats.aes_cbc import decrypt, encrypt
from connectors.formats.tcec102 import (
    EnvelopeKeys,
    Ret,
    TCec102,
    open_envelope,
    open_reply,
    parse_config,
    seal_envelope,
    seal_reply,
    sign,
)
from connectors.formats.tcec_envelope import EnvelopeError

# T/CEC 102.4-2016, appendices B and C. The plain text has a comma too many: it is compared as bytes.
OFFICIAL_KEY = b"1234567890abcdef"
OFFICIAL_DATA = (
    "il7B0BSEjFdzpyKzfOFpvg/Se1CP802RItKYFPfSLRxJ3jf0bVl9hvYOEktPAYW2nd7S8MBcyHYyacHKbISq5iTmDzG+ivnR+SZJv3USNTYVMz9r"
    "CQVSxd0cLlqsJauko79NnwQJbzDTyLooYoIwz75qBOH2/xOMirpeEqRJrF/EQjWekJmGk9RtboXePu2rka+Xm51syBPhiXJAq0GfbfaFu9tNqs/e"
    "2Vjja/ltE1M0lqvxfXQ6da6HrThsm5id4ClZFIi0acRfrsPLRixS/IQYtksxghvJwbqOsbIsITail9Ayy4tKcogeEZiOO+4Ed264NSKmk7l3wKwJ"
    "LAFjCFogBx8GE3OBz4pqcAn/ydA="
)
OFFICIAL_TEXT = (
    b'{"total":1,"stationStatusInfo":{"operationID":"123456789","stationID":"111111111111111","connectorStatusInfos":'
    b'{"connectorID":1,"equipmentID":"10000000000000000000001","status":4,"currentA":0,"currentB":0,"currentC":0,'
    b'"voltageA":0,"voltageB":0,"voltageC":0,"soc":10,}}}'
)
OFFICIAL_SIG = "745166E8C43C84D37FFEC0F529C4136F"

ORDER = (
    b'{"StartChargeSeq":"123456789665000001176708522","ConnectorID":"1","StartTime":"2019-04-18 11:29:29",'
    b'"EndTime":"2019-04-18 11:39:30","TotalPower":6.00,"TotalElecMoney":6.00,"TotalSeviceMoney":6.00,'
    b'"TotalMoney":12.00,"StopReason":2,"SumPeriod":0,"ChargeDetails":[]}'
)
ORDER_DATA = (
    "X6j5yLBjFJIUuR/iC32nO0jJf6Hk41m1BqWtcRX0/eYvf1Ep/bTAedR0bziOAWthLk1WdXgUwplapB5MmBJvVlTS2a8qQ4RhBxv7q5Y1SG+0QjWd"
    "o+IZtVlYtmssWoeaDIb508dcjSsPunSnexlLLjs3tNRCb5iiLP4sE9fXN73m4ySEwS7uKnKo2RzSUOQWRgPx9SLiQ5PjuUtNx9eCs1dKJ2poaJvT"
    "a53sMRDQ9+eZeCGogwHyOOahBNt2fAIirv5mIdz1Tup/RY8vlShqO18YU8Yp1qA/BpgGt60+XtYoRTj/Dxv/e/tkOFZVYtYgUzhbJN95IjT3wEck"
    "5Va/FOU8GOPqKQNE9PIETdj26Dc="
)
ORDER_SIG = "1488E1DE5BA5901ED7EB735F70404027"
ORDER_SENT_AT = datetime(2019, 4, 18, 3, 39, 31, tzinfo=UTC)  # 20190418113931 in Beijing

KEYS = EnvelopeKeys(data_secret=OFFICIAL_KEY, data_secret_iv=OFFICIAL_KEY, sig_secret=OFFICIAL_KEY)
SECRETS = {
    "operator_secret": "the-operator-secret",
    "data_secret": "1234567890abcdef",
    "data_secret_iv": "1234567890abcdef",
    "sig_secret": "1234567890abcdef",
    "token_key": "a key of the hub alone, 32 characters or more",
}
NOW = ORDER_SENT_AT
BASE = "/in/kuaidian/evcs/v20161110/"


def receiver(secrets: dict[str, str] = SECRETS, **config: object) -> TCec102:
    return TCec102(parse_config({"operator_id": "123456789"} | config, secrets))


def post(interface: str, body: bytes, token: str | None = None) -> Inbound:
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    return Inbound(method="POST", path=BASE + interface, headers=headers, body=body)


def sealed(text: bytes, *, keys: EnvelopeKeys = KEYS, at: datetime = NOW, seq: int = 1, camel: bool = False) -> bytes:
    return seal_envelope(keys, operator_id="123456789", text=text, sent_at=at, seq=seq, camel_case=camel)


def answer_of(answer: Delivery | Reply) -> tuple[int, dict[str, object]]:
    """Open an answer as the operator does: its signature must hold whatever it says."""
    assert isinstance(answer, Reply)
    assert answer.status == 200
    opened = open_reply(KEYS, answer.body)
    return opened.ret, json.loads(opened.text) if opened.text else {}


def asked_for_token(hub: TCec102, *, now: datetime = NOW, secret: str = "the-operator-secret") -> dict[str, object]:
    text = json.dumps({"OperatorID": "123456789", "OperatorSecret": secret}).encode()
    ret, data = answer_of(hub.receive(post("query_token", sealed(text, at=now)), now=now))
    assert ret == Ret.OK
    return data


def token_of(hub: TCec102, now: datetime = NOW) -> str:
    told = {name.lower(): value for name, value in asked_for_token(hub, now=now).items()}
    return str(told["accesstoken"])


def test_the_official_ciphertext_decrypts_to_the_official_bytes_and_back() -> None:
    data = base64.b64decode(OFFICIAL_DATA)
    assert decrypt(data, key=OFFICIAL_KEY, iv=OFFICIAL_KEY) == OFFICIAL_TEXT
    assert encrypt(OFFICIAL_TEXT, key=OFFICIAL_KEY, iv=OFFICIAL_KEY) == data


def test_the_official_signature_is_reproduced() -> None:
    assert sign(OFFICIAL_KEY, "123456789", OFFICIAL_DATA, "20160729142400", "0001") == OFFICIAL_SIG


def test_the_official_envelope_opens_to_bytes_although_they_are_no_json() -> None:
    envelope = {
        "OperatorID": "123456789",
        "Data": OFFICIAL_DATA,
        "TimeStamp": "20160729142400",
        "Seq": "0001",
        "Sig": OFFICIAL_SIG,
    }
    opened = open_envelope(KEYS, json.dumps(envelope).encode())
    assert opened.text == OFFICIAL_TEXT
    assert opened.sent_at == datetime(2016, 7, 29, 6, 24, tzinfo=UTC)
    with pytest.raises(ValueError, match=r"comma|Expecting|Illegal"):
        json.loads(opened.text)


def test_the_order_vector_is_sealed_exactly() -> None:
    assert json.loads(sealed(ORDER)) == {
        "OperatorID": "123456789",
        "Data": ORDER_DATA,
        "TimeStamp": "20190418113931",
        "Seq": "0001",
        "Sig": ORDER_SIG,
    }


@pytest.mark.parametrize("camel", [False, True])
def test_an_order_becomes_one_row_of_exactly_its_bytes(camel: bool) -> None:
    hub = receiver()
    body = sealed(ORDER, camel=camel)
    delivery = hub.receive(post("notification_charge_order_info", body, token_of(hub)), now=NOW)
    assert isinstance(delivery, Delivery)
    assert delivery.rows == (ORDER,)
    assert delivery.stream == "charge_orders"
    assert delivery.delivery_id == "123456789-20190418113931-0001"
    assert delivery.digest == hashlib.sha256(body).digest()


def test_an_order_in_camel_case_is_taken_as_it_is_written() -> None:
    hub = receiver(camel_case=True)
    order = b'{"startChargeSeq":"123456789665000001176708522","connectorID":"7","totalPower":6.00,"userId":"kd-000123"}'
    delivery = hub.receive(post("notification_charge_order_info", sealed(order, camel=True), token_of(hub)), now=NOW)
    assert isinstance(delivery, Delivery)
    assert delivery.rows == (order,)
    reply = hub.acknowledge(delivery, Outcome(accepted=1))
    assert set(json.loads(reply.body)) == {"ret", "msg", "data", "sig"}
    confirmed = {"startChargeSeq": "123456789665000001176708522", "connectorID": "7", "confirmResult": 0}
    assert answer_of(reply) == (0, confirmed)


def test_an_envelope_sent_again_is_the_same_delivery() -> None:
    hub = receiver()
    body, token = sealed(ORDER), token_of(hub)
    first = hub.receive(post("notification_charge_order_info", body, token), now=NOW)
    again = hub.receive(post("notification_charge_order_info", body, token), now=NOW + timedelta(minutes=4))
    assert isinstance(first, Delivery)
    assert first == again


def test_a_used_seq_with_another_order_shows_as_a_contradiction() -> None:
    hub = receiver()
    token = token_of(hub)
    first = hub.receive(post("notification_charge_order_info", sealed(ORDER), token), now=NOW)
    other = hub.receive(post("notification_charge_order_info", sealed(ORDER.replace(b"6.00", b"9.00")), token), now=NOW)
    assert isinstance(first, Delivery)
    assert isinstance(other, Delivery)
    assert first.delivery_id == other.delivery_id
    assert first.digest != other.digest


@pytest.mark.parametrize(
    ("outcome", "confirm"),
    [
        (Outcome(accepted=1), 0),
        (Outcome(replayed=1), 0),
        (Outcome(refused=1), 1),
        (Outcome(quarantined=1), 1),
        (Outcome(), 1),
    ],
)
def test_the_operator_is_told_whether_its_order_is_confirmed(outcome: Outcome, confirm: int) -> None:
    hub = receiver()
    delivery = hub.receive(post("notification_charge_order_info", sealed(ORDER), token_of(hub)), now=NOW)
    assert isinstance(delivery, Delivery)
    assert answer_of(hub.acknowledge(delivery, outcome)) == (
        0,
        {"StartChargeSeq": "123456789665000001176708522", "ConnectorID": "1", "ConfirmResult": confirm},
    )


def test_a_token_is_given_with_its_life_and_ends_with_it() -> None:
    hub = receiver(token_ttl_s=600)
    granted = asked_for_token(hub)
    assert granted["SuccStat"] == 0
    assert granted["FailReason"] == 0
    assert granted["TokenAvailableTime"] == 600
    for seconds, ret in [(599, None), (600, Ret.TOKEN), (10_000, Ret.TOKEN)]:
        later = NOW + timedelta(seconds=seconds)
        request = post("notification_charge_order_info", sealed(ORDER, at=later), str(granted["AccessToken"]))
        answer = hub.receive(request, now=later)
        assert isinstance(answer, Delivery) if ret is None else answer_of(answer)[0] == ret


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"OperatorID": "123456789", "OperatorSecret": "wrong"}, 2),
        ({"OperatorID": "987654321", "OperatorSecret": "the-operator-secret"}, 1),
    ],
)
def test_a_token_is_refused_to_a_wrong_operator_or_secret(asked: dict[str, str], reason: int) -> None:
    hub = receiver()
    ret, data = answer_of(hub.receive(post("query_token", sealed(json.dumps(asked).encode())), now=NOW))
    assert (ret, data["SuccStat"], data["FailReason"], data["AccessToken"]) == (0, 1, reason, "")


def test_a_token_of_another_hub_or_operator_or_with_a_later_end_is_refused() -> None:
    hub = receiver()
    good = token_of(hub)
    expires, mac = good.split(".")
    others = receiver(SECRETS | {"token_key": "another key of another hub, long enough to be one"})
    bad = [
        token_of(others),
        f"{int(expires) + 1}.{mac}",
        f"{expires}.{mac[:-1]}A" if mac[-1] != "A" else f"{expires}.{mac[:-1]}B",
        f"{expires}.",
        mac,
        "",
        "x" * 5000,
        good + " ",
    ]
    for token in bad:
        answer = hub.receive(post("notification_charge_order_info", sealed(ORDER), token), now=NOW)
        assert answer_of(answer)[0] == Ret.TOKEN
    assert answer_of(hub.receive(post("notification_charge_order_info", sealed(ORDER)), now=NOW))[0] == Ret.TOKEN
    basic = Inbound(
        method="POST",
        path=BASE + "notification_charge_order_info",
        headers={"authorization": f"Basic {good}"},
        body=sealed(ORDER),
    )
    assert answer_of(hub.receive(basic, now=NOW))[0] == Ret.TOKEN


def changed(**fields: object) -> bytes:
    envelope = json.loads(sealed(ORDER)) | fields
    return json.dumps({name: value for name, value in envelope.items() if value is not None}).encode()


def resigned(**fields: str) -> bytes:
    envelope = json.loads(sealed(ORDER)) | fields
    parts = [envelope[name] for name in ("OperatorID", "Data", "TimeStamp", "Seq")]
    return json.dumps(envelope | {"Sig": sign(OFFICIAL_KEY, *parts)}).encode()


WRONG_KEYS = EnvelopeKeys(data_secret=b"0" * 16, data_secret_iv=OFFICIAL_KEY, sig_secret=OFFICIAL_KEY)
WRONG_SIG = EnvelopeKeys(data_secret=OFFICIAL_KEY, data_secret_iv=OFFICIAL_KEY, sig_secret=b"0" * 16)


@pytest.mark.parametrize(
    ("body", "ret"),
    [
        (changed(Sig="0" * 32), Ret.SIGNATURE),
        (changed(Sig=ORDER_SIG[:-1] + "8"), Ret.SIGNATURE),
        (changed(Seq="0002"), Ret.SIGNATURE),
        (changed(TimeStamp="20190418113932"), Ret.SIGNATURE),
        (changed(OperatorID="123456780"), Ret.SIGNATURE),
        (changed(Data=ORDER_DATA[:-24] + ORDER_DATA[-24:].swapcase()), Ret.SIGNATURE),
        (sealed(ORDER, keys=WRONG_SIG), Ret.SIGNATURE),
        (changed(Sig=None), Ret.ENVELOPE),
        (changed(Data=None), Ret.ENVELOPE),
        (changed(Seq=1), Ret.ENVELOPE),
        (changed(Seq="1"), Ret.ENVELOPE),
        (changed(TimeStamp="2019-04-18 11:39"), Ret.ENVELOPE),
        (changed(sig=ORDER_SIG), Ret.ENVELOPE),
        (resigned(TimeStamp="20191341113931"), Ret.ENVELOPE),
        (resigned(OperatorID="987654321"), Ret.ENVELOPE),
        (b"", Ret.ENVELOPE),
        (b"[]", Ret.ENVELOPE),
        (b'{"Data":"\\ud800"}', Ret.ENVELOPE),
        (sealed(ORDER)[:-1] + b',"Seq":"0001"}', Ret.ENVELOPE),
        (sealed(ORDER, keys=WRONG_KEYS), Ret.BUSINESS),
        (resigned(Data=ORDER_DATA[:-24]), Ret.BUSINESS),
        (resigned(Data=base64.b64encode(base64.b64decode(ORDER_DATA)[:-16]).decode()), Ret.BUSINESS),
        (resigned(Data="not base64!"), Ret.BUSINESS),
        (resigned(Data=ORDER_DATA[:40] + " " + ORDER_DATA[40:]), Ret.BUSINESS),
        (sealed(OFFICIAL_TEXT), Ret.BUSINESS),
        (sealed(b"{}"), Ret.BUSINESS),
        (sealed(b'{"StartChargeSeq":5}'), Ret.BUSINESS),
        (sealed(b'{"StartChargeSeq":"a b"}'), Ret.BUSINESS),
        (sealed(b'{"StartChargeSeq":"a","startChargeSeq":"b"}'), Ret.BUSINESS),
        (sealed(b'{"StartChargeSeq":"a","TotalPower":1,"TotalPower":99}'), Ret.BUSINESS),
        (sealed(b""), Ret.BUSINESS),
    ],
)
def test_what_is_wrong_is_answered_with_the_code_of_the_standard(body: bytes, ret: Ret) -> None:
    hub = receiver()
    answer = hub.receive(post("notification_charge_order_info", body, token_of(hub)), now=NOW)
    assert answer_of(answer) == (ret, {})


@pytest.mark.parametrize("shift_s", [-301, 301, 86400])
def test_a_stale_time_stamp_is_refused(shift_s: int) -> None:
    hub = receiver()
    now = NOW + timedelta(seconds=shift_s)
    answer = hub.receive(post("notification_charge_order_info", sealed(ORDER), token_of(hub, now)), now=now)
    assert answer_of(answer)[0] == Ret.ENVELOPE


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        (BASE + "query_station_status", "POST", 404),
        ("/in/kuaidian/evcs/v20991231/query_token", "POST", 404),
        ("/in/kuaidian", "POST", 404),
        (BASE + "query_token/../notification_charge_order_info", "POST", 404),
        (BASE + "query_token", "GET", 405),
    ],
)
def test_other_interfaces_versions_and_methods_are_not_offered(path: str, method: str, status: int) -> None:
    answer = receiver().receive(Inbound(method=method, path=path, body=sealed(ORDER)), now=NOW)
    assert isinstance(answer, Reply)
    assert answer.status == status


def test_the_version_of_the_address_can_be_configured() -> None:
    path = "/evcs/v2021/query_token"
    text = b'{"OperatorID":"123456789","OperatorSecret":"the-operator-secret"}'
    answer = receiver(versions=["20161110", "2021"]).receive(
        Inbound(method="POST", path=path, body=sealed(text)), now=NOW
    )
    assert answer_of(answer)[1]["SuccStat"] == 0


def test_a_changed_reply_is_noticed_by_the_operator() -> None:
    body = json.loads(seal_reply(KEYS, ret=Ret.OK, message="好", data={"a": 1}))
    assert json.loads(open_reply(KEYS, json.dumps(body).encode()).text) == {"a": 1}
    for name, value in [("Ret", 1), ("Msg", "x"), ("Data", OFFICIAL_DATA), ("Sig", "0" * 32)]:
        with pytest.raises(EnvelopeError):
            open_reply(KEYS, json.dumps(body | {name: value}).encode())


def test_no_answer_repeats_a_secret_or_what_was_sent() -> None:
    hub = receiver()
    answer = hub.receive(post("query_token", sealed(b'{"OperatorID":"canary","OperatorSecret":"canary"}')), now=NOW)
    assert isinstance(answer, Reply)
    assert b"canary" not in answer.body + open_reply(KEYS, answer.body).text
    assert "1234567890abcdef" not in repr(parse_config({"operator_id": "123456789"}, SECRETS))


@pytest.mark.parametrize(
    ("config", "secrets"),
    [
        ({"operator_id": "12345678"}, SECRETS),
        ({"operator_id": "123456789", "tolerance": 5}, SECRETS),
        ({"operator_id": "123456789"}, SECRETS | {"data_secret": "short"}),
        ({"operator_id": "123456789"}, SECRETS | {"token_key": "short"}),
        ({"operator_id": "123456789"}, {**SECRETS, "other": "x"}),
    ],
)
def test_wrong_settings_are_refused_without_being_told(config: dict[str, object], secrets: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_config(config, secrets)
    assert "short" not in str(refused.value)
