"""Statements: ours to read, theirs to compare, over HTTP with a token; and those that the hub asks platforms for."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Response
from tests_support.deliveries import BEIJING, act, delivery, join
from tests_support.people import link_person
from tests_support.tokens import Machine
from tests_support.web import Caller, count, free_port, look_up, served

from consent.clients import load_client
from consent.tables import OAuthClient
from hub.context import Hub
from hub.db import reading, writing
from hub.errors import NotFound, UsageProblem
from hub.participants import ParticipantDocument, add_participant, open_platform
from hub.pipeline import clear_sealed, seal_window, take_delivery
from hub.sync.statements import parse_statement, reconcile_window

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
CITY = "beijing-green-life"
OURS = {"window": 1, "deliveries": [{"delivery_id": "d1", "rows": 2}, {"delivery_id": "d2", "rows": 1}]}


@pytest.fixture
def sealed(hub: Hub) -> Hub:
    """Window 1 has two deliveries of Beijing (three rows) and one of another city; it is sealed and cleared."""
    city, other = join(hub, BEIJING), join(hub, BEIJING | {"id": "other-city"})
    accounts = {CITY: "bj-1", "other-city": "oc-1"}
    link_person(hub, "li", accounts, set(BEIJING["behaviours"]), NOW)
    take_delivery(hub, city, delivery("d1", act("1"), act("2", "nobody")), now=NOW)
    take_delivery(hub, city, delivery("d2", act("3", scene="METRO")), now=NOW)
    take_delivery(hub, other, delivery("o1", act("4", "oc-1", scene="BUS")), now=NOW)
    seal_window(hub, now=NOW)
    clear_sealed(hub, now=NOW)
    return hub


@pytest.fixture
def caller(sealed: Hub) -> Caller:
    return Caller(sealed)


@pytest.fixture
def own(sealed: Hub) -> Machine:
    return Machine(sealed, CITY)


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["type"].removeprefix("urn:tanlian:problem:")


def told(*lines: tuple[Any, Any]) -> dict[str, Any]:
    return {"deliveries": [{"delivery_id": name, "rows": rows} for name, rows in lines]}


def test_a_platform_reads_its_own_side_and_nobody_else_s(caller: Caller, own: Machine):
    ours = own.get("/v1/statements/1").json()
    assert {name: ours[name] for name in OURS} == OURS
    assert [(one["stream"], one["records"], one["claimed_mg"]) for one in ours["streams"]] == [("acts", 2, 1_000_000)]
    other = Machine(caller.hub, "other-city").get("/v1/statements/1")
    assert [line["delivery_id"] for line in other.json()["deliveries"]] == ["o1"]
    third = Machine(caller.hub, "kuaidian").get("/v1/statements/1")
    assert third.json()["deliveries"] == []


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_token_of_the_right_scope_and_of_a_participant_is_needed(caller: Caller, own: Machine, method: str):
    before = count(caller.hub, "reconciliation", "change_leaf")
    hub = caller.hub
    cases = {
        "nothing": ({}, 401, "unauthorized"),
        "no token": ({"authorization": "Basic YTpi"}, 401, "unauthorized"),
        "a made-up token": ({"authorization": "DPoP at_made_up"}, 401, "unauthorized"),
        "a token without its proof": ({"authorization": f"DPoP {own.token()}"}, 401, "unauthorized"),
        "a bound token as a bearer": ({"authorization": f"Bearer {own.token()}"}, 401, "unauthorized"),
        "another scope": (Machine(hub, CITY, "regulator").headers(method, "/v1/statements/1"), 403, "forbidden"),
        "a client of nobody": (Machine(hub, None).headers(method, "/v1/statements/1"), 403, "forbidden"),
    }
    for name, (headers, status, reason) in cases.items():
        answer = caller.call(method, "/v1/statements/1", headers=headers, json=None if method == "GET" else told())
        assert problem(answer) == (status, reason), name
        if "client" not in name:
            assert answer.headers["www-authenticate"].startswith("DPoP "), name
    assert count(hub, "reconciliation", "change_leaf") == before


def test_a_token_ends_with_its_time_and_with_its_client(caller: Caller, own: Machine):
    assert own.get("/v1/statements/1").status_code == 200
    own.move(replace(caller.hub, clock=lambda: NOW + timedelta(minutes=5, seconds=-1)))
    assert own.get("/v1/statements/1").status_code == 200
    own.move(replace(caller.hub, clock=lambda: NOW + timedelta(minutes=5)))
    assert own.get("/v1/statements/1").status_code == 401
    own.move(caller.hub)
    with writing(caller.hub.engine) as session:
        client = session.query(OAuthClient).one()
        assert load_client(session, client.client_id) is not None
        client.suspended_at = NOW
    assert own.get("/v1/statements/1").status_code == 401


def test_the_same_statement_on_both_sides_has_no_breaks(caller: Caller, own: Machine):
    answer = own.send_json("/v1/statements/1", told(("d1", 2), ("d2", 1)))
    assert (answer.status_code, answer.json()) == (200, {"window": 1, "breaks": []})
    assert look_up(caller.hub, "SELECT platform, state, ours_rows, theirs_rows FROM reconciliation") == [
        (CITY, "matched", 3, 3)
    ]


def test_every_difference_has_its_type_and_both_numbers(caller: Caller, own: Machine):
    answer = own.send_json("/v1/statements/1", told(("d1", 5), ("d3", 7)))
    assert answer.json()["breaks"] == [
        {"delivery_id": "d1", "kind": "rows", "ours": 2, "theirs": 5},
        {"delivery_id": "d2", "kind": "missing_there", "ours": 1, "theirs": None},
        {"delivery_id": "d3", "kind": "missing_here", "ours": None, "theirs": 7},
    ]
    assert look_up(caller.hub, "SELECT state FROM reconciliation") == [("breaks",)]
    leaf = look_up(caller.hub, "SELECT COUNT(*) FROM change_leaf WHERE kind = 'reconciliation.done'")
    assert leaf == [(1,)]


def test_a_platform_cannot_claim_another_one_s_deliveries(caller: Caller, own: Machine):
    answer = own.send_json("/v1/statements/1", told(("d1", 2), ("d2", 1), ("o1", 1)))
    assert [(line["delivery_id"], line["kind"]) for line in answer.json()["breaks"]] == [("o1", "missing_here")]


def test_a_corrected_statement_replaces_the_one_before(caller: Caller, own: Machine):
    own.send_json("/v1/statements/1", told(("d1", 5)))
    own.move(replace(caller.hub, clock=lambda: NOW + timedelta(seconds=1)))
    assert own.send_json("/v1/statements/1", told(("d1", 2), ("d2", 1))).json()["breaks"] == []
    assert look_up(caller.hub, "SELECT state FROM reconciliation") == [("matched",)]


def test_a_delivery_of_another_window_is_no_break(caller: Caller, own: Machine):
    hub = caller.hub
    with reading(hub.engine) as session:
        city = open_platform(session, hub.ring, CITY)
    take_delivery(hub, city, delivery("d9", act("9", scene="BUS")), now=NOW)
    answer = own.send_json("/v1/statements/1", told(("d1", 2), ("d2", 1), ("d9", 1)))
    assert answer.json()["breaks"] == []


WINDOWS = {
    "99": (404, "not_found"),
    "0": (422, "invalid_request"),
    "-1": (422, "invalid_request"),
    "one": (422, "invalid_request"),
    str(10**30): (422, "invalid_request"),
}


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_window_that_is_not_there_is_a_clear_answer(caller: Caller, own: Machine, method: str):
    before = count(caller.hub, "reconciliation", "change_leaf")
    body = None if method == "GET" else told(("d1", 2))
    answers = {window: problem(own.call(method, f"/v1/statements/{window}", json=body)) for window in WINDOWS}
    assert answers == WINDOWS
    assert count(caller.hub, "reconciliation", "change_leaf") == before


def test_an_open_window_is_compared_when_it_is_sealed(caller: Caller, own: Machine):
    assert problem(own.send_json("/v1/statements/2", told())) == (409, "conflict")
    ours = own.get("/v1/statements/2").json()
    assert (ours["window"], ours["deliveries"], ours["until"]) == (2, [], None)


WRONG_BODIES: dict[str, bytes] = {
    "empty": b"",
    "no JSON": b"{",
    "a list": b"[]",
    "no deliveries": b"{}",
    "an unknown member": b'{"deliveries":[],"note":"x"}',
    "the deliveries twice": b'{"deliveries":[],"deliveries":[]}',
    "a key twice in a line": b'{"deliveries":[{"delivery_id":"d1","rows":1,"rows":2}]}',
    "an unknown member in a line": b'{"deliveries":[{"delivery_id":"d1","rows":1,"mg":2}]}',
    "rows as text": b'{"deliveries":[{"delivery_id":"d1","rows":"2"}]}',
    "rows as true": b'{"deliveries":[{"delivery_id":"d1","rows":true}]}',
    "rows with a point": b'{"deliveries":[{"delivery_id":"d1","rows":2.0}]}',
    "rows below zero": b'{"deliveries":[{"delivery_id":"d1","rows":-1}]}',
    "rows beyond all bounds": b'{"deliveries":[{"delivery_id":"d1","rows":10000000000}]}',
    "NaN": b'{"deliveries":[{"delivery_id":"d1","rows":NaN}]}',
    "1e999": b'{"deliveries":[{"delivery_id":"d1","rows":1e999}]}',
    "null": b'{"deliveries":[{"delivery_id":"d1","rows":null}]}',
    "an id that is a number": b'{"deliveries":[{"delivery_id":1,"rows":1}]}',
    "an empty id": b'{"deliveries":[{"delivery_id":"","rows":1}]}',
    "an endless id": b'{"deliveries":[{"delivery_id":"' + b"d" * 300 + b'","rows":1}]}',
    "half a character": b'{"deliveries":[{"delivery_id":"\\ud800","rows":1}]}',
    "too deep": b'{"deliveries":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "not UTF-8": b'{"deliveries":[],"\xff":1}',
}


def test_a_body_that_is_not_strictly_of_the_form_is_refused_and_not_repeated(caller: Caller, own: Machine):
    before = count(caller.hub, "reconciliation", "change_leaf")
    answers = {
        name: own.call("POST", "/v1/statements/1", headers={"content-type": "application/json"}, content=body)
        for name, body in WRONG_BODIES.items()
    }
    assert {name: problem(answer) for name, answer in answers.items()} == dict.fromkeys(
        WRONG_BODIES, (422, "usage_problem")
    )
    assert count(caller.hub, "reconciliation", "change_leaf") == before
    assert "d" * 100 not in answers["an endless id"].text


def test_a_body_beyond_the_hub_s_bound_is_refused_before_it_is_read(caller: Caller, own: Machine):
    own.move(replace(caller.hub, settings=caller.hub.settings.model_copy(update={"max_body_bytes": 100})))
    answer = own.send_json("/v1/statements/1", told(*[("d", 1)] * 10))
    assert problem(answer) == (413, "message_too_large")


def test_the_form_of_a_statement_is_in_the_description_of_the_api(caller: Caller):
    document = caller.get("/openapi.json").json()
    body = document["paths"]["/v1/statements/{window}"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert set(body["properties"]["deliveries"]["items"]["properties"]) == {"delivery_id", "rows", "stream"}


# What the hub asks platforms for by itself.


class Books:
    """A platform's address for statements."""

    def __init__(self) -> None:
        self.status, self.body = 200, b'{"deliveries":[]}'
        self.app = FastAPI()
        self.app.add_api_route("/statement", self._answer, methods=["GET"], response_model=None)

    def _answer(self) -> Response:
        return Response(self.body, self.status, {"location": "http://127.0.0.1:1/"}, media_type="application/json")


@pytest.fixture
def books(sealed: Hub) -> Iterator[tuple[Hub, Books]]:
    with free_port() as (bound, origin):
        books = Books()
        with served(books.app, bound):
            join(sealed, BEIJING | {"statement_url": f"{origin}/statement", "allow_loopback": True})
            yield sealed, books


def test_a_platform_s_own_statement_is_fetched_and_compared(books: tuple[Hub, Books]):
    hub, platform = books
    platform.body = (
        b'{"platform":"x","deliveries":[{"delivery_id":"d1","rows":2,"claimed_mg":5},{"delivery_id":"d2","rows":1}]}'
    )
    report = reconcile_window(hub, 1, now=NOW)
    assert report == {
        CITY: {"state": "matched", "deliveries": 2, "rows": 3, "breaks": []},
        "other-city": {"state": "no_statement"},
    }
    assert look_up(hub, "SELECT state FROM clearing_window WHERE window_id = 1") == [("provisional",)]


def test_a_statement_that_cannot_be_read_is_reported_and_holds_up_nobody(books: tuple[Hub, Books]):
    hub, platform = books
    for name, body in WRONG_BODIES.items():
        if "unknown member" in name:
            continue  # a platform's own statement may tell more than is asked
        platform.body = body
        report = reconcile_window(hub, 1, now=NOW)
        assert report[CITY]["state"] == "unreached", name
        assert report[CITY]["reason"], name
    assert count(hub, "reconciliation") == {"reconciliation": 0}
    assert look_up(hub, "SELECT state FROM clearing_window WHERE window_id = 1") == [("provisional",)]


def test_an_address_that_answers_otherwise_is_reported_and_can_be_asked_again(books: tuple[Hub, Books]):
    hub, platform = books
    for platform.status in (302, 404, 500, 503):
        assert reconcile_window(hub, 1, now=NOW)[CITY]["state"] == "unreached", platform.status
    platform.status = 200
    again = reconcile_window(hub, 1, now=NOW + timedelta(seconds=1))
    assert [line["kind"] for line in again[CITY]["breaks"]] == ["missing_there", "missing_there"]


def test_an_address_that_may_not_be_called_is_reported(sealed: Hub):
    wrong = (
        "http://127.0.0.1:1/s",
        "ftp://city.example/s",
        "https://user@city.example/s",
        "nonsense",
        "https://[::1/s",
    )
    for seconds, url in enumerate(wrong):
        with writing(sealed.engine) as session:
            document = ParticipantDocument.model_validate(BEIJING | {"statement_url": url})
            add_participant(session, sealed.ring, document, NOW + timedelta(seconds=seconds))
        assert reconcile_window(sealed, 1, now=NOW)[CITY]["state"] == "unreached", url


def test_an_unknown_window_is_not_reconciled(sealed: Hub):
    with pytest.raises(NotFound):
        reconcile_window(sealed, 99, now=NOW)


def test_a_delivery_named_twice_keeps_its_first_line_whatever_the_rest_is():
    body = b'{"deliveries":[{"delivery_id":"a","rows":1},{"delivery_id":"b","rows":2},{"delivery_id":"a","rows":3}]}'
    assert parse_statement(body, extra="forbid").rows() == [("a", 1, None), ("b", 2, None)]
    with pytest.raises(UsageProblem, match="strict JSON"):
        parse_statement(b'{"a":1,"a":2}', extra="ignore")
