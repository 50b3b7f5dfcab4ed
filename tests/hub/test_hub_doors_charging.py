"""The door of charging operators: T/CEC 102 over the real application, on both databases.

Every answer is HTTP 200 with the standard's code in a signed envelope.
"""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests_support.deliveries import BEIJING, KUAIDIAN, charge, join
from tests_support.doors import BODY, NOW, STORES, is_problem
from tests_support.people import link_person
from tests_support.pushes import DOOR
from tests_support.web import Caller, count, look_up

from connectors.formats.tcec_envelope import EnvelopeKeys, open_reply, seal_envelope
from hub.context import Hub

KEYS = EnvelopeKeys(
    **{name: KUAIDIAN["secrets"][name].encode() for name in ("data_secret", "data_secret_iv", "sig_secret")}
)
EVCS = "/in/kuaidian/evcs/v20161110"
OK, SIGNATURE, TOKEN, ENVELOPE, BUSINESS = 0, 4001, 4002, 4003, 4004


class Operator:
    """A charging operator at the hub's door."""

    def __init__(self, hub: Hub) -> None:
        join(hub, KUAIDIAN)
        link_person(hub, "wang", {"kuaidian": "kd-1"}, {"MOB-EVCHARGE"}, NOW)
        self.hub, self.caller = hub, Caller(hub)

    def envelope(
        self, document: dict[str, Any] | bytes, *, seq: int = 1, at: datetime = NOW, operator: str = "123456789"
    ) -> bytes:
        text = document if isinstance(document, bytes) else json.dumps(document).encode()
        return seal_envelope(KEYS, operator_id=operator, text=text, sent_at=at, seq=seq)

    def post(self, interface: str, body: bytes, token: str | None = None) -> tuple[int, dict[str, Any]]:
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        answer = self.caller.post(f"{EVCS}/{interface}", content=body, headers=headers)
        assert answer.status_code == 200, answer.text
        reply = open_reply(KEYS, answer.content)
        return reply.ret, json.loads(reply.text) if reply.text else {}

    def ask_token(self, secret: str = "1234567890abcdef") -> tuple[int, dict[str, Any]]:
        asked = {"OperatorID": "123456789", "OperatorSecret": secret}
        return self.post("query_token", self.envelope(asked, seq=9000))

    @property
    def token(self) -> str:
        return str(self.ask_token()[1]["AccessToken"])

    def order(self, body: bytes, token: str | None) -> tuple[int, dict[str, Any]]:
        return self.post("notification_charge_order_info", body, token)


@pytest.fixture
def operator(hub: Hub) -> Operator:
    return Operator(hub)


def test_an_operator_asks_for_a_token_and_delivers_an_order_with_it(operator: Operator):
    ret, told = operator.ask_token()
    assert (ret, told["SuccStat"], told["FailReason"]) == (OK, 0, 0)
    ret, told = operator.order(operator.envelope(charge("1")), told["AccessToken"])
    assert (ret, told["StartChargeSeq"], told["ConfirmResult"]) == (OK, charge("1")["StartChargeSeq"], 0)
    assert count(operator.hub, "source_record", "quarantined", "batch") == {
        "source_record": 1, "quarantined": 0, "batch": 1,
    }  # fmt: skip


def test_a_wrong_operator_secret_gets_no_token(operator: Operator):
    ret, told = operator.ask_token("fedcba0987654321")
    assert (ret, told["SuccStat"], told["AccessToken"], told["FailReason"]) == (OK, 1, "", 2)


def test_a_wrong_envelope_is_answered_in_the_standard_s_words_and_changes_nothing(operator: Operator):
    token, good = operator.token, operator.envelope(charge("1"))
    document = json.loads(good)
    forged = json.dumps(document | {"Sig": document["Sig"][::-1]}).encode()
    swapped = json.dumps(document | {"Data": json.loads(operator.envelope(charge("2")))["Data"]}).encode()
    cases = {
        "Sig tampered with": (forged, token, SIGNATURE),
        "Data of another order": (swapped, token, SIGNATURE),
        "no token": (good, None, TOKEN),
        "a token that we never made": (good, "9999999999." + "A" * 43, TOKEN),
        "a token with a later end": (good, f"9{token[1:]}", TOKEN),
        "another operator": (operator.envelope(charge("1"), operator="987654321"), token, ENVELOPE),
        "ten minutes old": (operator.envelope(charge("1"), at=NOW - timedelta(minutes=10)), token, ENVELOPE),
        "cut off": (good[:-9], token, ENVELOPE),
        "empty": (b"", token, ENVELOPE),
        "an order without a number": (operator.envelope({"TotalPower": 1}), token, BUSINESS),
        "an order that is no JSON": (operator.envelope(b"\x00\x01"), token, BUSINESS),
        "duplicate keys in the order": (
            operator.envelope(json.dumps(charge("1")).encode().replace(b"{", b'{"StartChargeSeq":"x",', 1)), token, BUSINESS,
        ),
    }  # fmt: skip
    before = count(operator.hub, *STORES)
    got = {name: operator.order(body, given)[0] for name, (body, given, _) in cases.items()}
    assert got == {name: int(ret) for name, (_, _, ret) in cases.items()}
    assert count(operator.hub, *STORES) == before


def test_a_token_ends(operator: Operator):
    token = operator.token
    later = NOW + timedelta(hours=3)
    operator.caller = Caller(replace(operator.hub, clock=lambda: later))
    assert operator.order(operator.envelope(charge("1"), at=later), token)[0] == TOKEN
    assert count(operator.hub, "source_record") == {"source_record": 0}


def test_a_replayed_order_is_confirmed_again_and_stored_once(operator: Operator):
    token, body = operator.token, operator.envelope(charge("1"))
    first = operator.order(body, token)
    before = count(operator.hub, *STORES)
    assert operator.order(body, token) == first
    assert count(operator.hub, *STORES) == before


def test_the_same_order_in_a_new_envelope_is_confirmed_and_stored_once(operator: Operator):
    token = operator.token
    operator.order(operator.envelope(charge("1"), seq=1), token)
    ret, told = operator.order(operator.envelope(charge("1"), seq=2), token)
    assert (ret, told["ConfirmResult"]) == (OK, 0)
    assert count(operator.hub, "source_record") == {"source_record": 1}


def test_an_order_of_nobody_and_an_order_that_cannot_be_read_are_disputed_and_set_aside(operator: Operator):
    token = operator.token
    cases = {
        "unknown_account": charge("1", "nobody"),
        "negative_quantity": charge("2", TotalPower=-1),
        "end_before_start": charge("3", EndTime="2026-11-18 09:00:00"),
        "time_ahead": charge("4", StartTime="2026-11-21 10:00:00", EndTime="2026-11-21 11:00:00"),
    }
    for seq, order in enumerate(cases.values(), start=1):
        ret, told = operator.order(operator.envelope(order, seq=seq), token)
        assert (ret, told["ConfirmResult"]) == (OK, 1)
    assert look_up(operator.hub, "SELECT reason FROM quarantined ORDER BY quarantine_id") == [(name,) for name in cases]
    assert count(operator.hub, "source_record") == {"source_record": 0}


def test_an_interface_that_is_not_offered_is_not_there(operator: Operator):
    for path in ("", "/evcs/v20991231/query_token", "/evcs/v20161110/stop_charge"):
        answer = operator.caller.post(f"/in/kuaidian{path}", content=b"{}")
        assert is_problem(answer, 404, "interface_unknown"), path


def test_the_envelope_s_token_opens_no_other_door(operator: Operator):
    join(operator.hub, BEIJING)
    answer = operator.caller.post(DOOR, headers={"authorization": f"Bearer {operator.token}"}, content=BODY)
    assert is_problem(answer, 400, "webhook_headers")
