"""The person's own links, consents and receipts as data: all for the person, and for a recipient what concerns itself."""

from datetime import UTC, datetime
from typing import Any

import pytest
from tests_support.deliveries import BEIJING, KUAIDIAN, join
from tests_support.oauth import TYPE
from tests_support.people import link_person
from tests_support.portal import PASSWORD, Visitor
from tests_support.tokens import Machine
from tests_support.web import look_up

from consent.metadata import server_jwks
from consent.people import hash_password
from consent.receipts import verify_receipt
from consent.tables import Person
from hub.context import Hub
from hub.db import writing

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
CITY, CAR = "beijing-green-life", "kuaidian"
PATHS = ("/v1/links", "/v1/consents", "/v1/receipts")


@pytest.fixture
def town(hub: Hub) -> Hub:
    join(hub, BEIJING)
    join(hub, KUAIDIAN)
    link_person(hub, "li", {CITY: "bj-1", CAR: "kd-1"}, {*BEIJING["behaviours"], *KUAIDIAN["behaviours"]}, NOW)
    link_person(hub, "wang", {CITY: "bj-2"}, set(BEIJING["behaviours"]), NOW)
    with writing(hub.engine) as session:
        session.get_one(Person, subject(hub, "li")).password_hash = hash_password(PASSWORD)
    return hub


def subject(hub: Hub, name: str) -> int:
    return int(look_up(hub, "SELECT subject_id FROM person WHERE username = :n", n=name)[0][0])


def asked(**members: Any) -> list[dict[str, Any]]:
    return [{"type": TYPE, "actions": ["read"], **members}]


def test_the_person_sees_all_of_their_own_and_nothing_of_others(town: Hub) -> None:
    shop = Machine.recipient(town)
    shop.consented(subject(town, "li"))
    browser = Visitor(town)
    browser.sign_in("li")
    links, consents, receipts = (browser.see(path).answer.json() for path in PATHS)
    assert sorted(one["platform"] for one in links["links"]) == [CITY, CAR]
    assert {one["state"] for one in links["links"]} == {"active"}
    recipients = sorted(one["recipient"] for one in consents["consents"])
    assert recipients == sorted([shop.client_id, "hub", "hub"])
    keys = server_jwks(town.ring)
    assert len(receipts["receipts"]) >= 3
    for one in receipts["receipts"]:
        assert verify_receipt(one["receipt"], keys)["record_metadata"]["record_id"] == one["grant_id"]
    told = str((links, consents, receipts))
    assert "bj-1" not in told  # no account number
    assert str(subject(town, "li")) not in told


def test_a_recipient_sees_its_own_consents_and_receipts_and_the_platforms_that_it_may_know_of(town: Hub) -> None:
    shop, other = Machine.recipient(town), Machine.recipient(town)
    li = subject(town, "li")
    token = shop.consented(li, authorization_details=asked(platforms=[CITY]))["access_token"]
    other.consented(li)
    links, consents, receipts = (shop.get(path, token).json() for path in PATHS)
    assert [one["platform"] for one in links["links"]] == [CITY]
    (consent,) = consents["consents"]
    assert (consent["recipient"], consent["state"]) == (shop.client_id, "active")
    assert consent["subject"].startswith("s_")
    assert {one["grant_id"] for one in receipts["receipts"]} == {consent["grant_id"]}


@pytest.mark.parametrize("path", PATHS)
def test_who_has_neither_session_nor_a_person_s_token_is_refused(town: Hub, path: str) -> None:
    assert Visitor(town).see(path).status == 401
    machine = Machine(town, CITY)
    assert machine.get(path).status_code == 403


@pytest.mark.parametrize("path", PATHS)
def test_a_token_beside_a_session_decides(town: Hub, path: str) -> None:
    browser = Visitor(town)
    browser.sign_in("li")
    assert browser.call("GET", path, headers={"authorization": "DPoP made-up"}).status_code == 401
