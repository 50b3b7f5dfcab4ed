"""Pre-check over HTTP: what a platform may ask before it claims, what it hears, and how much."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from tests_support.deliveries import BEIJING, KUAIDIAN, act, delivery, join
from tests_support.people import LinkedPerson, link_person
from tests_support.tokens import Machine
from tests_support.web import Caller, count, look_up

from consent.withdraw import withdraw_grant
from hub.audit import audit
from hub.context import Hub
from hub.db import reading, writing
from hub.migrate import downgrade, upgrade
from hub.participants import Status, open_platform, set_status
from hub.pipeline import clear_dirty, clear_sealed, seal_window, take_delivery
from hub.precheck.allowance import UsedUp, take_place
from hub.rights.erase import erase_person

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
CITY, OTHER = "beijing-green-life", "other-city"
BEGAN = "2026-11-18T08:12:03+08:00"
RIDE, MEAL, CANCELLED, STRAY, PAYMENT = (
    "MB-20261118-77",
    "WM-20261118-01",
    "MB-20261118-79",
    "MB-20261118-80",
    "PAY-7730021",
)


def ride(number: str = RIDE, **changes: Any) -> dict[str, Any]:
    """One act to ask about: a ride, unless told otherwise."""
    return {"behaviour": "MOB-BIKE", "at": BEGAN, "event_key": number} | changes


def paid(number: str = PAYMENT) -> dict[str, Any]:
    return {"behaviour": "MOB-BIKE", "at": BEGAN, "payment_key": number}


@pytest.fixture
def li(hub: Hub) -> LinkedPerson:
    """Li's ride, a meal and a ride that was taken back, told by Beijing; the other city asks."""
    city = join(hub, BEIJING)
    join(hub, BEIJING | {"id": OTHER})
    person = link_person(hub, "li", {CITY: "bj-1", OTHER: "oc-1"}, set(BEIJING["behaviours"]), NOW)
    rows = (
        act("1", orderNo=RIDE, payNo=PAYMENT),
        act("2", orderNo=MEAL, scene="NO_TABLEWARE", distance=None),
        act("3", orderNo=CANCELLED, status="CANCELLED"),
        act("4", "nobody", orderNo=STRAY),
    )
    outcome = take_delivery(hub, city, delivery("d1", *rows), now=NOW)
    assert (outcome.accepted, outcome.refused) == (3, 1)
    return person


@pytest.fixture
def asker(hub: Hub, li: LinkedPerson) -> Machine:
    return Machine(hub, OTHER)


def ask(machine: Machine, *events: dict[str, Any]) -> httpx.Response:
    return machine.send_json("/v1/precheck", {"events": list(events)})


def claimed(machine: Machine, *events: dict[str, Any]) -> list[bool]:
    answer = ask(machine, *events)
    assert answer.status_code == 200, answer.text
    return [event["claimed"] for event in answer.json()["events"]]


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["type"].removeprefix("urn:tanlian:problem:")


def test_what_another_platform_has_told_is_claimed_at_once_and_after_clearing(asker: Machine, hub: Hub):
    questions = (ride(), ride("MB-20261118-99"), ride(CANCELLED), ride(STRAY), paid(), paid("PAY-9999999"))
    expected = [True, False, False, False, True, False]
    assert claimed(asker, *questions) == expected
    while clear_dirty(hub, now=NOW):
        pass
    assert claimed(asker, *questions) == expected
    seal_window(hub, now=NOW)
    clear_sealed(hub, now=NOW)
    assert claimed(asker, *questions) == expected


def test_the_answers_have_one_form_and_say_no_more_than_yes_or_no(asker: Machine):
    answer = ask(asker, ride(), ride("MB-20261118-99"))
    assert answer.json() == {"events": [{"claimed": True}, {"claimed": False}], "left_today": 99_998}
    assert answer.headers["cache-control"] == "no-store"


def test_a_platforms_own_report_is_no_claim_of_another(hub: Hub, li: LinkedPerson):
    assert claimed(Machine(hub, CITY), ride()) == [False]


def test_a_number_is_known_however_it_is_written(asker: Machine):
    assert claimed(asker, ride(" mb-20261118-77 "), ride("ＭＢ-20261118-77")) == [True, True]


def test_a_number_answers_for_its_own_kind_family_and_time_only(asker: Machine):
    two_days = "2026-11-20T08:12:03+08:00"
    beyond = "2026-11-20T08:12:04+08:00"
    questions = (
        ride(PAYMENT), paid(RIDE), ride(behaviour="MOB-METRO"), ride(MEAL), ride(MEAL, behaviour="FOOD-NOTABLEWARE"),
        ride(at=two_days), ride(at=beyond), ride(at="2026-11-18T00:12:03Z"), ride(at="2026-11-18T00:12:03.5+00:00"),
    )  # fmt: skip
    assert claimed(asker, *questions) == [False, False, False, False, True, True, False, True, True]


def test_asking_claims_nothing_and_is_logged_with_counts_alone(asker: Machine, hub: Hub):
    before = count(hub, "source_record", "reduction_record", "quarantined", "batch")
    ask(asker, ride(), ride("MB-20261118-99"), ride(CANCELLED))
    assert count(hub, "source_record", "reduction_record", "quarantined", "batch") == before
    ((body,),) = look_up(
        hub,
        "SELECT b.data FROM log_body b JOIN change_leaf c ON c.leaf_id = b.leaf_id WHERE c.kind = 'precheck.answered'",
    )
    told = bytes(body)
    assert b'"participant":"other-city"' in told
    assert b'"asked_count":3' in told
    assert b'"claimed_count":1' in told
    assert RIDE.encode() not in told
    assert len(told) < 220
    report = audit(hub)
    assert report.failed == 0, [check for check in report.checks if not check.ok]


def test_a_corrected_record_claims_by_its_newest_version_only(asker: Machine, hub: Hub):
    with reading(hub.engine) as session:
        city = open_platform(session, hub.ring, CITY)
    take_delivery(hub, city, delivery("d2", act("1", ver=2, orderNo="MB-20261118-78", payNo=None)), now=NOW)
    assert claimed(asker, ride(), ride("MB-20261118-78"), paid()) == [False, True, False]


def test_a_number_that_many_people_carry_is_a_constant_and_claims_nothing(asker: Machine, hub: Hub):
    with reading(hub.engine) as session:
        city = open_platform(session, hub.ring, CITY)
    answers = []
    for number in range(5):
        link_person(hub, f"p{number}", {CITY: f"many-{number}"}, set(BEIJING["behaviours"]), NOW)
        row = act(f"m{number}", f"many-{number}", orderNo="MERCHANT-4471")
        take_delivery(hub, city, delivery(f"m{number}", row), now=NOW)
        answers += claimed(asker, ride("MERCHANT-4471"))
    assert answers == [True, True, True, False, False]


def test_what_only_a_person_brought_claims_nothing(asker: Machine, hub: Hub):
    with writing(hub.engine) as session:
        session.execute(text("UPDATE reduction_record SET role = 'declared'"))
    assert claimed(asker, ride()) == [False]
    seal_window(hub, now=NOW)
    clear_sealed(hub, now=NOW)
    assert look_up(hub, "SELECT DISTINCT verdict FROM decision WHERE verdict <> 'rejected'") == [("held",)]
    assert claimed(asker, ride()) == [False]


def test_calls_a_minute_are_bounded_and_the_wait_is_told(asker: Machine, hub: Hub):
    slow = replace(hub, settings=hub.settings.model_copy(update={"precheck_calls_per_minute": 3}))
    asker.move(slow)
    assert [ask(asker, ride()).status_code for _ in range(4)] == [200, 200, 200, 429]
    refused = ask(asker, ride())
    assert problem(refused) == (429, "too_many_requests")
    assert refused.headers["retry-after"] == "20"
    asker.move(replace(slow, clock=lambda: NOW + timedelta(seconds=19)))
    assert ask(asker, ride()).status_code == 429
    asker.move(replace(slow, clock=lambda: NOW + timedelta(seconds=20)))
    assert [ask(asker, ride()).status_code for _ in range(2)] == [200, 429]
    assert Machine(slow, CITY).send_json("/v1/precheck", {"events": [ride()]}).status_code == 200


def test_acts_a_day_are_bounded_and_tomorrow_begins_anew(asker: Machine, hub: Hub):
    small = replace(hub, settings=hub.settings.model_copy(update={"precheck_events_per_day": 5}))
    asker.move(small)
    assert ask(asker, *[ride()] * 3).json()["left_today"] == 2
    refused = ask(asker, *[ride()] * 3)
    assert problem(refused) == (429, "too_many_requests")
    assert refused.headers["retry-after"] == str(8 * 3600)  # it is 16:00 in China
    assert ask(asker, *[ride()] * 2).json()["left_today"] == 0
    asker.move(replace(small, clock=lambda: NOW + timedelta(hours=8)))
    asker.held = None
    assert ask(asker, ride()).json()["left_today"] == 4
    leaves = look_up(hub, "SELECT COUNT(*) FROM change_leaf WHERE kind = 'precheck.answered'")
    assert leaves == [(3,)]


def test_calls_side_by_side_share_one_allowance(hub: Hub):
    def take(_turn: int) -> int:
        try:
            with writing(hub.engine) as session:
                return take_place(session, OTHER, 300, NOW, calls=60, most=1_000).number
        except UsedUp:
            return 0

    with ThreadPoolExecutor(8) as pool:
        taken = sorted(pool.map(take, range(16)))
    assert taken == [0] * 13 + [1, 2, 3]
    assert look_up(hub, "SELECT calls, events FROM precheck_allowance") == [(3, 900)]


def test_nobody_may_ask_where_the_operator_allows_nothing(asker: Machine, hub: Hub):
    asker.move(replace(hub, settings=hub.settings.model_copy(update={"precheck_events_per_day": 0})))
    assert problem(ask(asker, ride())) == (429, "too_many_requests")


WRONG: dict[str, Any] = {
    "nothing": {"events": []},
    "no list": {"events": ride()},
    "no events": {},
    "too many": {"events": [ride()] * 501},
    "an unknown member": {"events": [ride()], "note": "x"},
    "an unknown member of an act": {"events": [ride(person="li")]},
    "both numbers": {"events": [ride(payment_key=PAYMENT)]},
    "no number": {"events": [{"behaviour": "MOB-BIKE", "at": BEGAN}]},
    "a number that is one": {"events": [ride(20261118771)]},
    "an endless number": {"events": [ride("MB-" + "7" * 300)]},
    "no zone": {"events": [ride(at="2026-11-18T08:12:03")]},
    "a day": {"events": [ride(at="2026-11-18")]},
    "a moment": {"events": [ride(at=1_763_424_723)]},
    "no such time": {"events": [ride(at="2026-02-30T08:12:03Z")]},
    "the future": {"events": [ride(at="2026-11-20T08:01:01Z")]},
    "another's behaviour": {"events": [ride(behaviour="MOB-EVCHARGE")]},
    "no behaviour": {"events": [ride(behaviour="MOB-FLY")]},
}


def test_a_question_that_is_not_of_the_form_is_refused_costs_nothing_and_is_not_repeated(asker: Machine, hub: Hub):
    before = count(hub, "precheck_allowance", "change_leaf")
    answers = {name: asker.send_json("/v1/precheck", body) for name, body in WRONG.items()}
    assert {name: problem(answer) for name, answer in answers.items()} == dict.fromkeys(WRONG, (422, "usage_problem"))
    assert "7777" not in answers["an endless number"].text
    twice = asker.call(
        "POST", "/v1/precheck", content=b'{"events":[],"events":[]}', headers={"content-type": "application/json"}
    )
    assert problem(twice) == (422, "usage_problem")
    assert count(hub, "precheck_allowance", "change_leaf") == before
    large = asker.call("POST", "/v1/precheck", content=b" " * 600_000)
    assert problem(large) == (413, "message_too_large")


def test_the_form_is_in_the_description_of_the_api(hub: Hub):
    told = Caller(hub).get("/openapi.json").json()["paths"]["/v1/precheck"]["post"]
    act_schema = told["requestBody"]["content"]["application/json"]["schema"]["properties"]["events"]
    assert set(act_schema["items"]["properties"]) == {"behaviour", "at", "event_key", "payment_key"}
    assert act_schema["maxItems"] == 500
    assert {"200", "401", "403", "413", "422", "429"} <= set(told["responses"])
    assert "Retry-After" in told["responses"]["429"]["headers"]


@pytest.mark.parametrize("kind", ["event_key", "payment_key"])
def test_looking_a_number_up_goes_by_its_index(hub: Hub, kind: str):
    wanted = f"SELECT r.{kind}, COUNT(*) FROM reduction_record r WHERE r.{kind} IN (1, 2) GROUP BY r.{kind}"
    explain = "EXPLAIN QUERY PLAN " if hub.engine.dialect.name == "sqlite" else "EXPLAIN "
    with reading(hub.engine) as session:
        if hub.engine.dialect.name == "postgresql":
            session.execute(text("SET LOCAL enable_seqscan = off"))  # an empty table is read whole otherwise
        plan = " ".join(str(row) for row in session.execute(text(explain + wanted)))
    assert f"ix_reduction_record_{kind}" in plan


def test_the_step_of_the_schema_goes_down_and_up(hub: Hub):
    downgrade(hub.engine, "0012")
    assert look_up(hub, "SELECT COUNT(*) FROM clearing_window") == [(1,)]
    upgrade(hub.engine)
    assert count(hub, "precheck_allowance", "policy_adoption") == {"precheck_allowance": 0, "policy_adoption": 0}


# Attacks: who may not ask, and what asking must not tell.


def test_a_platforms_token_of_the_right_scope_is_needed(hub: Hub, li: LinkedPerson):
    caller, own = Caller(hub), Machine(hub, OTHER)
    cases = {
        "nothing": ({}, 401, "unauthorized"),
        "a made-up token": ({"authorization": "DPoP at_made_up"}, 401, "unauthorized"),
        "a token without its proof": ({"authorization": f"DPoP {own.token()}"}, 401, "unauthorized"),
        "a bound token as a bearer": ({"authorization": f"Bearer {own.token()}"}, 401, "unauthorized"),
        "another scope": (Machine(hub, OTHER, "regulator").headers("POST", "/v1/precheck"), 403, "forbidden"),
        "a client of nobody": (Machine(hub, None).headers("POST", "/v1/precheck"), 403, "forbidden"),
        "a participant that is none": (Machine(hub, "nowhere").headers("POST", "/v1/precheck"), 403, "forbidden"),
    }
    for name, (headers, status, reason) in cases.items():
        answer = caller.post("/v1/precheck", headers=headers, json={"events": [ride()]})
        assert problem(answer) == (status, reason), name
    assert count(hub, "precheck_allowance") == {"precheck_allowance": 0}


def test_a_suspended_platform_hears_what_an_unknown_one_hears(asker: Machine, hub: Hub):
    assert claimed(asker, ride()) == [True]
    with writing(hub.engine) as session:
        set_status(session, OTHER, Status.SUSPENDED, NOW)
    suspended, unknown = ask(asker, ride()), ask(Machine(hub, "nowhere"), ride())
    assert problem(suspended) == (403, "forbidden")
    assert suspended.json() == unknown.json()


@pytest.mark.parametrize(
    "number",
    ["", "0000000000", "9999999999", "--------", "null", "undefined", "11112222", "AB1234", "1234567", "测试订单"],
)
def test_numbers_that_prove_nothing_are_not_looked_up(asker: Machine, hub: Hub, number: str):
    answer = ask(asker, ride(), ride(number))
    assert problem(answer) == (422, "usage_problem")
    assert count(hub, "precheck_allowance") == {"precheck_allowance": 0}


def test_trying_numbers_out_ends_with_the_days_allowance(asker: Machine, hub: Hub):
    """Who does not know a platform's order numbers can try them; the answers run out long before the numbers do."""
    small = replace(hub, settings=hub.settings.model_copy(update={"precheck_events_per_day": 1_200}))
    asker.move(small)
    tried, found = 0, 0
    for start in range(0, 100_000, 500):
        answer = ask(asker, *[ride(f"MB-20261117-{number:05d}") for number in range(start, start + 500)])
        if answer.status_code == 429:
            break
        tried += 500
        found += sum(event["claimed"] for event in answer.json()["events"])
    assert (tried, found) == (1_000, 0)
    asker.move(replace(small, clock=lambda: NOW + timedelta(minutes=4)))
    assert ask(asker, *[ride()] * 201).status_code == 429


def test_other_behaviours_than_its_own_are_closed_to_a_platform(hub: Hub, li: LinkedPerson):
    join(hub, KUAIDIAN)
    charger = Machine(hub, "kuaidian")
    assert problem(ask(charger, ride())) == (422, "usage_problem")
    assert claimed(charger, ride(behaviour="MOB-EVCHARGE")) == [False]


def test_who_withdrew_or_was_erased_is_in_no_answer(asker: Machine, hub: Hub, li: LinkedPerson):
    assert claimed(asker, ride(), paid()) == [True, True]
    with writing(hub.engine) as session:
        for (grant,) in session.execute(text("SELECT DISTINCT grant_id FROM grant_version")).all():
            withdraw_grant(session, grant_id=grant, subject_id=li.subject_id, now=NOW, reason="test")
    assert claimed(asker, ride(), paid()) == [False, False]
    erase_person(hub, li.subject_id, now=NOW)
    assert claimed(asker, ride(), paid()) == [False, False]


def test_an_answer_is_the_same_whoever_claimed_and_how_often(asker: Machine, hub: Hub):
    third = join(hub, BEIJING | {"id": "third-city"})
    link_person(hub, "wang", {"third-city": "tc-1"}, set(BEIJING["behaviours"]), NOW)
    once = ask(asker, ride()).json()["events"]
    take_delivery(hub, third, delivery("t1", act("9", "tc-1", orderNo=RIDE)), now=NOW)
    assert ask(asker, ride()).json()["events"] == once == [{"claimed": True}]
